"""Runs that are there, compared: what they are called, where the comparison goes, what is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mindprint.cli import output
from mindprint.errors import ConfigError, Exit
from mindprint.report.files import BEGUN, RESULT

if TYPE_CHECKING:
    from mindprint.compare.model import Comparison

TWO_RUNS = "`mindprint compare RUN RUN`; `mindprint runs` lists those here"
ON_BACKENDS = "`mindprint compare CURRICULUM --backends mlx,torch --model PATH|ID`"


def compared_runs(folders: Sequence[Path], idle: Sequence[str]) -> Comparison:
    """The comparison of the runs in `folders`; `idle`: options given that only training has a use
    for. Raises ConfigError for what does not go together, DataError for what cannot be read."""
    from mindprint.compare.read import compared

    _check(folders, idle)
    return compared(list(zip(names(folders), folders, strict=True)))


def _check(folders: Sequence[Path], idle: Sequence[str]) -> None:
    if idle:
        what = f"`{idle[0]}` has no part in comparing runs that are there"
        hint = f"leave it out, or train a curriculum: {ON_BACKENDS}"
        raise ConfigError(what, where=idle[0], hint=hint)
    if len(folders) == 1 and is_run(folders[0]):
        what = "one run alone cannot be compared"
        raise ConfigError(what, where=str(folders[0]), hint=f"name another too: {TWO_RUNS}")
    if len(folders) == 1:
        what = f"`{folders[0]}` is not a run, and no backends are named to train it on"
        hint = f"name two runs: {TWO_RUNS}; or train a curriculum: {ON_BACKENDS}"
        raise ConfigError(what, where=str(folders[0]), hint=hint)
    for folder in folders:
        if not is_run(folder) and (folder / "curriculum.yaml").is_file():
            what = f"`{folder}` is a curriculum, not a run"
            hint = f"train it on several backends: {ON_BACKENDS}; or name runs: {TWO_RUNS}"
            raise ConfigError(what, where="RUN", hint=hint)


def is_run(folder: Path) -> bool:
    """Whether a run was begun in `folder`."""
    return any((folder / name).is_file() for name in (RESULT, *BEGUN))


def names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, with as much of the path before them as tells them apart. Raises
    ConfigError for a folder given twice."""
    parts = [folder.resolve().parts for folder in folders]
    for at, one in enumerate(parts):
        if one in parts[:at]:
            hint = "a run keeps to itself; name the folder of another"
            raise ConfigError(f"the run `{folders[at]}` is given twice", where="RUN", hint=hint)
    for depth in range(1, max(map(len, parts)) + 1):
        found = ["/".join(one[-depth:]) for one in parts]
        if len(set(found)) == len(found):
            return found
    return [str(folder.resolve()) for folder in folders]


def default_place() -> Path:
    """runs/compare-<date>-<time>."""
    from mindprint.cli.execute import default_out

    return default_out("compare")


def check_out(place: Path) -> None:
    """Raises ConfigError where a comparison would stand inside of a run, or cannot be written.
    Nothing is left there."""
    if is_run(place):
        hint = "choose a folder of its own, as `--out comparison`"
        raise ConfigError(f"`{place}` is the folder of a run", where="--out", hint=hint)
    if place.exists() and not place.is_dir():
        hint = "choose a folder, as `--out comparison`"
        raise ConfigError(f"`{place}` is a file", where="--out", hint=hint)
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    probe = place / ".probe"
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise _unwritable(place, error) from error
    finally:
        for folder in missing:
            if folder.is_dir():
                folder.rmdir()


def _unwritable(place: Path, error: OSError) -> ConfigError:
    what = f"a comparison cannot be written to `{place}`: {error.strerror or error}"
    return ConfigError(what, where="--out", hint="choose another folder with `--out`")


def tell(comparison: Comparison, place: Path, strict: bool, as_json: bool) -> None:
    """Write the comparison into `place` and print it; exit code 1 where `strict` and not kept."""
    import typer

    from mindprint.report.compare_files import write_comparison
    from mindprint.report.compare_summary import broken
    from mindprint.report.compare_text import text

    try:
        page = write_comparison(place, comparison)
    except OSError as error:
        raise _unwritable(place, error) from error
    if as_json:
        output.result(comparison.model_dump(mode="json"))
    else:
        output.table(text(comparison))
        print(f"\ncomparison: {page}")
    # A check that could not be made is none that was passed.
    if strict and (found := broken(comparison)):
        output.bullets("--strict:", list(found))
        raise typer.Exit(Exit.GATE)

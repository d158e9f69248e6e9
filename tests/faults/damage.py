"""Every file of a stopped run damaged in turn: what comes of going on with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from mindprint import ledger as ledgers
from mindprint.cli.app import run as mindprint
from mindprint.disk import points
from mindprint.ledger import LEDGER
from mindprint.rundir import RunDir
from mindprint.stage_folder import ADAPTER
from tests.faults.alike import bytes_that_differ, results_that_differ
from tests.faults.ground import make_ground

SETTINGS = ("handoff=stack", "run.checkpoint_every=1", "sft.epochs=1", "dpo.epochs=3")
STOPPED_IN, CHECKPOINTS = "topic-1", 2
"""The run is stopped in the DPO stage of its second topic, with so many checkpoints of it."""

SAME = "same"
SAID = "same, said"
REFUSED = "refused"


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "emptied": lambda content: b"",
    "cut in half": lambda content: content[: len(content) // 2],
    "one bit flipped": lambda content: _flipped(content) if content else b"",
    "removed": lambda content: None,
}


@dataclass(frozen=True)
class Said:
    """What a command line came to."""

    code: int
    text: str


def stopped_run(folder: Path) -> Path:
    """A run of two topics below `folder`: the first finished, the second stopped in its DPO."""
    ground = make_ground(folder, topics=2, rows=8)
    out = folder / "stopped"
    written = 0

    def reached(point: str, path: Path) -> None:
        nonlocal written
        begun = (out / "topics/unit/chapter" / STOPPED_IN / "sft").is_dir()
        if begun and point == "done" and path.parent == out / "checkpoints":
            written += 1
            if written == CHECKPOINTS:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "reached", reached)
        said = command(*ground.train(out, "torch", *SETTINGS))
    assert said.code == 130, said.text
    return out


def table(folder: Path, work: Path) -> list[tuple[str, str, str]]:
    """(file, damage, outcome) for every file of the stopped run `folder`, each of the damages.

    An outcome that begins with WRONG is one that must not be.
    """
    return outcomes(folder, work, cells(folder))


def cells(folder: Path) -> list[tuple[str, str]]:
    """(file, damage) where the damage changes the file."""
    return [
        (path.relative_to(folder).as_posix(), damage)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for damage, change in DAMAGES.items()
        if change(path.read_bytes()) != path.read_bytes()
    ]


def outcomes(
    folder: Path, work: Path, wanted: Iterable[tuple[str, str]]
) -> list[tuple[str, str, str]]:
    """Those cells of the table."""
    return list(_outcomes(folder, work, wanted))


def _outcomes(
    folder: Path, work: Path, wanted: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, str, str]]:
    undisturbed = work / "undisturbed"
    if not undisturbed.exists():
        shutil.copytree(folder, undisturbed)
        said = command("resume", undisturbed)
        assert said.code in (0, 1), said.text
    for file, damage in wanted:
        cell = work / "cell"
        if cell.exists():
            shutil.rmtree(cell)
        shutil.copytree(folder, cell)
        changed = DAMAGES[damage]((cell / file).read_bytes())
        if changed is None:
            (cell / file).unlink()
        else:
            (cell / file).write_bytes(changed)
        yield _kind(file), damage, _outcome(command("resume", cell), cell, file, undisturbed)


def _outcome(said: Said, cell: Path, file: str, undisturbed: Path) -> str:
    named = Path(file).name in said.text or _checkpoint(file) in said.text
    if said.code in (0, 1):
        final = bytes_that_differ(cell, undisturbed, (*ADAPTER, LEDGER))
        odd = [one for one in final if one == LEDGER or _acts(Path(one), undisturbed)]
        odd += results_that_differ(cell, undisturbed)
        if odd:
            return f"WRONG: another result: {odd[:3]}"
        return SAID if named else SAME
    if said.code in (2, 65) and named and "Traceback" not in said.text:
        return REFUSED
    return f"WRONG: exit {said.code}: {said.text[-1500:]}"


def _checkpoint(file: str) -> str:
    """A checkpoint is told of by its folder; anything else by its own name."""
    return Path(file).parent.name if file.startswith("checkpoints/") else file


def _acts(file: Path, run: Path) -> bool:
    """Whether an adapter's file, relative to its run, is of the model that the run ends with."""
    ledger = ledgers.read(RunDir.open(run))
    return file.parent.as_posix() in {entry.folder for entry in ledger.acting()}


def command(*words: object) -> Said:
    """A command line in this process."""
    heard = StringIO()
    before = {name: os.environ.get(name) for name in ("NO_COLOR", "COLUMNS")}
    os.environ.update(NO_COLOR="1", COLUMNS="1000")
    try:
        with redirect_stdout(heard), redirect_stderr(heard):
            code = mindprint([str(word) for word in words])
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    return Said(code, heard.getvalue())


def _kind(file: str) -> str:
    """The file as a reader knows it: by its topic's state, not by its name."""
    states = {"topic-0": "finished topic", "topic-1": "topic under way"}
    for topic, state in states.items():
        file = file.replace(f"topics/unit/chapter/{topic}/", f"{state}: ")
        file = file.replace(f"base/unit/chapter/{topic}.json", f"base: exam of {state}")
    return file

"""From run folders to a comparison. No model is opened, and no framework imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mindprint import __version__
from mindprint.compare import verdict
from mindprint.compare.against import Against
from mindprint.compare.courses import unequal_courses
from mindprint.compare.curves import curves
from mindprint.compare.distances import Adapters
from mindprint.compare.model import Comparison
from mindprint.compare.run import Run, read_run
from mindprint.compare.settings import differences, same
from mindprint.compare.sides import memory_notes, side
from mindprint.compare.topics import paired, topic_scores
from mindprint.compare.voices import Scale
from mindprint.errors import ConfigError, DataError, Fault


def compared(runs: Sequence[tuple[str, Path]]) -> Comparison:
    """The runs of these (name, folder), the first of which the others are held against.

    Raises ConfigError for fewer than two, a folder or a name given twice; DataError with every
    folder whose result is missing or not as it was written.
    """
    _check(runs)
    read = _read(runs)
    adapters = [Adapters(run) for run in read]
    scale = Scale(read[0])
    others = [
        Against.of(read[0], run, adapters[0], held, scale)
        for run, held in zip(read[1:], adapters[1:], strict=True)
    ]
    odd = differences(read)
    return Comparison(
        mindprint=__version__,
        title=read[0].result.title,
        author=read[0].result.author,
        verdict=verdict.paragraph(read, odd, [one.sentences() for one in others]),
        runs=tuple(side(run, held.total) for run, held in zip(read, adapters, strict=True)),
        differences=odd,
        same=same(read),
        curves=curves(read),
        partings=tuple(parting for one in others for parting in one.partings),
        first=tuple(one.first_step for one in others if one.first_step is not None),
        topics=topic_scores(read, scale),
        overall=tuple(one.scores for one in others),
        agreement=tuple(found for one in others for found in one.agreement),
        distances=tuple(found for one in others for found in one.distances),
        paired=paired(read),
        gaps=tuple(gap for one in others for gap in one.gaps),
        notes=(*_notes(read), *(note for held in adapters for note in held.notes)),
    )


def _check(runs: Sequence[tuple[str, Path]]) -> None:
    if len(runs) < 2:
        raise ConfigError(
            f"a comparison needs two runs, and {'one is' if runs else 'none is'} given",
            where="RUN",
            hint="`mindprint compare RUN RUN`; `mindprint runs` lists those here",
        )
    seen: set[Path] = set()
    for _, path in runs:
        if path.resolve() in seen:
            hint = "a run keeps to itself; name the folder of another"
            raise ConfigError(f"the run `{path}` is given twice", where="RUN", hint=hint)
        seen.add(path.resolve())
    if len({name for name, _ in runs}) < len(runs):
        raise ConfigError("two of the runs have one name", where="RUN")


def _read(runs: Sequence[tuple[str, Path]]) -> list[Run]:
    """All of them, or what is wrong with each that cannot be read."""
    read: list[Run] = []
    odd: list[DataError] = []
    for name, path in runs:
        try:
            read.append(read_run(name, path))
        except DataError as error:
            odd.append(error)
    if len(odd) > 1:
        faults: list[Fault] = [fault for error in odd for fault in error.faults]
        raise DataError(f"{len(odd)} of the runs cannot be compared", faults, hint=odd[0].hint)
    if odd:
        raise odd[0]
    return read


def _notes(read: Sequence[Run]) -> Iterator[str]:
    """What is to be known beside the figures."""
    for run in read:
        yield from run.notes
        if run.no_ledger:
            yield f"the adapters of `{run.name}` are not compared: {run.no_ledger}"
    for other in read[1:]:
        yield from unequal_courses(read[0], other)
    yield from memory_notes(read)

"""What is not the same in all runs, and what is: the first thing a comparison says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mindprint import engines
from mindprint.compare.model import Setting
from mindprint.compare.run import Run
from mindprint.report.summary import choice
from mindprint.report.words import several
from mindprint.sameness import PLACES

ELSEWHERE = PLACES | {engines.KEY, "model.dtype"}
"""Settings that are told as the model, or by what computed."""

CHOSEN = ("handoff", "model.attention")
"""Settings that go by what was chosen for `auto`."""

MACHINE: dict[str, Callable[[Run], str]] = {
    "backend": lambda run: run.backend,
    "engine": lambda run: run.engine,
    "device": lambda run: run.result.model.device,
    "dtype": lambda run: run.result.model.dtype,
    "threads": lambda run: str(run.result.model.threads or ""),
    "blas": lambda run: run.result.model.blas,
}
"""What computed. `threads` and `blas` are empty on a GPU."""


def differences(runs: Sequence[Run]) -> tuple[Setting, ...]:
    """The model, the data, the topics, the settings, what computed, the libraries: in this order,
    as far as they differ."""
    return (
        *_model(runs),
        *_data(runs),
        *_topics(runs),
        *_config(runs),
        *_machine(runs),
        *_libraries(runs),
    )


def same(runs: Sequence[Run]) -> tuple[str, ...]:
    """The kinds of things that do not differ at all, in a few words each."""
    first = runs[0].result
    libraries = len(first.versions)
    found = (
        (_model, f"the model ({first.model.path}, {first.model.id[:12]})"),
        (_data, f"the curriculum, {several(len(first.hashes), 'file')}"),
        (_topics, several(len(first.topics), "topic") + ", in the same order"),
        (_config, several(len(_keys(runs)), "setting")),
        (_machine, "what computed"),
        (_libraries, f"{libraries} libraries" if libraries > 1 else "the libraries"),
    )
    return tuple(said for compare, said in found if not list(compare(runs)))


def _model(runs: Sequence[Run]) -> Iterator[Setting]:
    ids = [run.result.model.id for run in runs]
    if not _alike(ids):
        told = [f"{run.result.model.path} ({run.result.model.id[:12]})" for run in runs]
        yield Setting(kind="model", key="model", values=tuple(told))


def _data(runs: Sequence[Run]) -> Iterator[Setting]:
    """File by file; another curriculum altogether in one line."""
    hashes = [run.result.hashes for run in runs]
    names = sorted({name for one in hashes for name in one})
    odd = [name for name in names if not _alike([one.get(name, "") for one in hashes])]
    if odd and len(odd) == len(names) > 1:
        told = [f"{r.result.curriculum} ({several(len(r.result.hashes), 'file')})" for r in runs]
        yield Setting(kind="data", key="curriculum", values=tuple(told))
        return
    for name in odd:
        values = tuple(one.get(name, "")[:12] for one in hashes)
        yield Setting(kind="data", key=name, values=values)


def _topics(runs: Sequence[Run]) -> Iterator[Setting]:
    taught = [[topic.id for topic in run.topics] for run in runs]
    every = list(dict.fromkeys(name for one in taught for name in one))
    odd = [name for name in every if not all(name in one for one in taught)]
    for name in odd:
        values = tuple(
            "taught" if name in one else "taught, then dropped" if name in run.dropped else ""
            for one, run in zip(taught, runs, strict=True)
        )
        yield Setting(kind="topics", key=name, values=values)
    if not odd and not _alike([tuple(one) for one in taught]):
        values = tuple(", ".join(one) for one in taught)
        yield Setting(kind="topics", key="order of topics", values=values)


def _config(runs: Sequence[Run]) -> Iterator[Setting]:
    for key in _keys(runs):
        if not _alike([_value(run, key) for run in runs]):
            values = tuple(shown(run, key) for run in runs)
            yield Setting(kind="config", key=key, values=values)


def _machine(runs: Sequence[Run]) -> Iterator[Setting]:
    for key, read in MACHINE.items():
        values = [read(run) for run in runs]
        if not _alike(values):
            yield Setting(kind="machine", key=key, values=tuple(values))


def _libraries(runs: Sequence[Run]) -> Iterator[Setting]:
    """mindprint is one of them."""
    versions = [run.result.versions for run in runs]
    for name in sorted({name for one in versions for name in one}):
        values = [one.get(name, "") for one in versions]
        if not _alike(values):
            yield Setting(kind="library", key=name, values=tuple(values))


def shown(run: Run, key: str) -> str:
    """A setting's value as text, "" where the run has no such setting."""
    value = _value(run, key)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return str(value)


def _value(run: Run, key: str) -> object:
    """As it was chosen or set; "" where the run has no such setting."""
    chosen = choice(run.result, key) if key in CHOSEN else ""
    return chosen or run.result.config.get(key, ("", ""))[0]


def _keys(runs: Sequence[Run]) -> list[str]:
    """All settings of any run, in their order."""
    keys = dict.fromkeys(key for run in runs for key in run.result.config)
    return [key for key in keys if key not in ELSEWHERE]


def _alike(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)

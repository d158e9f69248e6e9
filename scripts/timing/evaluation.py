"""The exam of a topic, batched and one question at a time, on the model that ships.

`python -m timing.evaluation BACKEND REPEATS` measures one backend in this process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from backends import get
from backends.contract import Batch, Generated, GenerateSpec, LogProbs, ModelSpec, Session
from mindprint.cli.shipped import CURRICULUM, MODEL
from mindprint.config import Config, resolve
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Curriculum, QuizItem
from mindprint.evals.exam import Examiner
from mindprint.tokens.render import Renderer
from timing.process import SCRIPTS

QUESTIONS, TOKENS = 12, 64
LONGEST = 1024


class Wrapped:
    """A session that does some of its work in another way."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class Unstopped(Wrapped):
    """Every answer runs to its last token."""

    def generate(self, prompts: Any, spec: GenerateSpec, on_token: Any = None) -> list[Generated]:
        return self._session.generate(prompts, replace(spec, stop_ids=()), on_token)


class OneByOne(Wrapped):
    """One row goes through the model at a time."""

    def generate(self, prompts: Any, spec: GenerateSpec, on_token: Any = None) -> list[Generated]:
        return [self._session.generate([prompt], spec, on_token)[0] for prompt in prompts]

    def logprobs(self, batch: Batch, per_token: bool = False) -> LogProbs:
        if per_token:
            raise ValueError("an exam weighs whole rows")
        rows = []
        for row, length in enumerate(batch.lengths):
            own = Batch(
                ids=batch.ids[row : row + 1, :length],
                lengths=batch.lengths[row : row + 1],
                mask=batch.mask[row : row + 1, :length],
            )
            rows.append(self._session.logprobs(own).rows)
        return LogProbs(rows=np.concatenate(rows))


@dataclass(frozen=True)
class Compared:
    """Seconds of each repeat, in turn. `ratio`: median over the repeats, with the least and the
    most; `tokens`: generated in one exam."""

    backend: str
    stops: str
    batched: tuple[float, ...]
    one_by_one: tuple[float, ...]
    tokens: int

    @property
    def ratios(self) -> list[float]:
        return sorted(one / all_ for one, all_ in zip(self.one_by_one, self.batched, strict=True))

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": statistics.median(self.ratios), "ratios": self.ratios}


def compare(
    session: Session, curriculum: Curriculum, config: Config, forced: bool, repeats: int, name: str
) -> Compared:
    """The exam of a topic, batched and one question at a time; the first of each is not counted."""
    items: Sequence[QuizItem] = curriculum.topics[0].quiz[:QUESTIONS]
    renderer = Renderer.open(MODEL)
    base: Any = Unstopped(session) if forced else session
    ways = [Examiner(way, renderer, curriculum, config) for way in (base, OneByOne(base))]
    texts = [[answer.text for answer in way.ask(items).answers] for way in ways]
    if texts[0] != texts[1]:
        raise SystemExit("the two ways do not answer alike: their times cannot be compared")
    taken: list[list[float]] = [[], []]
    for _ in range(repeats):
        for way, seconds in zip(ways, taken, strict=True):
            started = time.perf_counter()
            way.ask(items)
            seconds.append(round(time.perf_counter() - started, 4))
    prompts = [answer.ids for answer in ways[0].answer(_prompts(curriculum, items))]
    stops = "forced to 64 tokens" if forced else "natural stops"
    return Compared(name, stops, tuple(taken[0]), tuple(taken[1]), sum(map(len, prompts)))


def _prompts(curriculum: Curriculum, items: Sequence[QuizItem]) -> list[Any]:
    from mindprint.tokens.lessons import question

    return [question(curriculum.system, item.question) for item in items]


def measure(backend: str, repeats: int) -> list[dict[str, Any]]:
    """Both comparisons on one backend, in this process."""
    curriculum = read_curriculum(CURRICULUM)
    config = resolve(settings=[f"eval.max_tokens={TOKENS}"], model__path=str(MODEL)).config
    session = get(backend).open(ModelSpec(str(MODEL), device="cpu", longest_row=LONGEST))
    try:
        return [
            compare(session, curriculum, config, forced, repeats, backend).as_json()
            for forced in (True, False)
        ]
    finally:
        session.close()


def evaluation(backends: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """Each backend in a process of its own. Raises CalledProcessError."""
    found: list[dict[str, Any]] = []
    for backend in backends:
        command = [sys.executable, "-m", "timing.evaluation", backend, str(repeats)]
        paths = [str(SCRIPTS), str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
        found += json.loads(done.stdout.splitlines()[-1])
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Medians in seconds, and the ratio with its least and most, as Markdown."""
    lines = [
        "| backend | answers | tokens | batched, s | one by one, s | times as fast |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for one in found:
        batched, alone = (statistics.median(one[key]) for key in ("batched", "one_by_one"))
        spread = f"{one['ratio']:.1f} ({one['ratios'][0]:.1f} to {one['ratios'][-1]:.1f})"
        lines.append(
            f"| {one['backend']} | {one['stops']} | {one['tokens']} | {batched:.2f} "
            f"| {alone:.2f} | {spread} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))

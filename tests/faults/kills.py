"""Many runs, each killed once at a seeded moment, resumed, and compared with a whole one."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests.faults.alike import EXACT, TOLD, bytes_that_differ, results_that_differ
from tests.faults.ground import HANDOFFS, Ground, make_ground
from tests.faults.processes import Ended, start, surveyed
from tests.faults.shots import MOMENTS, SIX, Moment, Shot, Survey, drawn

DONE = (0, 1)
"""Exit codes of a run that finished; 1 says that a topic did not reach its pass mark."""
RESUMES = 3
"""A run that was killed once needs one; more are a fault that is shown."""
SHOTS = 4
"""A kill that came too late, the process having finished, is tried again, earlier."""


class Failed(RuntimeError):
    """A process ended as none should."""


@dataclass(frozen=True)
class Task:
    """One kill that is to be made: `number` from 1 on within a backend."""

    backend: str
    number: int
    moment: Moment
    handoff: str


@dataclass(frozen=True)
class Kill:
    """One that was made. `differing`: exact files that differ; `told`: other files and keys of
    the result; `died`: where exactly."""

    backend: str
    number: int
    moment: Moment
    handoff: str
    seed: int
    died: dict[str, Any]
    resumes: int
    differing: tuple[str, ...]
    told: tuple[str, ...]
    scores: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.differing and not self.scores and not self.told


def tasks(backends: Sequence[str], count: int, only: Sequence[Moment] = ()) -> list[Task]:
    """`count` kills a backend, the six moments in turn and the handoffs in turn within each; the
    rest of a count that six does not divide falls on the other files."""
    moments = tuple(only) or SIX
    even = count - count % len(moments)
    order = [*islice(cycle(moments), even)]
    order += ["file"] * (count - even) if not only else islice(cycle(moments), count - even)
    made = []
    for backend in backends:
        seen: dict[Moment, int] = {}
        for number, moment in enumerate(order, 1):
            seen[moment] = seen.get(moment, 0) + 1
            handoff = HANDOFFS[(seen[moment] - 1) % len(HANDOFFS)]
            made.append(Task(backend, number, moment, handoff))
    return made


class Campaign:
    """Kills under `work`, which keeps what was done: begun again it goes on."""

    def __init__(self, work: Path, seed: int, say: Callable[[str], None] = print) -> None:
        self._work, self._seed, self._say = work, seed, say
        self._ground: Ground = make_ground(work / "ground")
        self._surveys: dict[tuple[str, str], Survey] = {}

    def run(self, wanted: Sequence[Task], jobs: int = 1) -> list[Kill]:
        """Every kill, those of an earlier process read back. Raises Failed."""
        pairs = sorted({(task.backend, task.handoff) for task in wanted})
        with ThreadPoolExecutor(jobs) as pool:
            surveys = pool.map(lambda pair: self._whole(*pair), pairs)
            self._surveys.update(zip(pairs, surveys, strict=True))
            return list(pool.map(self._kill, _in_turn(wanted)))

    def _whole(self, backend: str, handoff: str) -> Survey:
        """The run that nobody disturbs, and what it went through."""
        out, papers = self._whole_at(backend, handoff), self._papers(f"whole-{backend}-{handoff}")
        if not papers.with_suffix(".survey").is_file():
            shutil.rmtree(out, ignore_errors=True)
            words = self._ground.train(out, backend, f"handoff={handoff}")
            _expect(start(words, backend, papers, survey=True), DONE)
            self._say(f"{backend} {handoff}: the undisturbed run is done")
        return surveyed(papers)

    def _kill(self, task: Task) -> Kill:
        name = f"{task.backend}-{self._seed}-{task.number:03d}-{task.moment}"
        kept = self._papers(name).with_suffix(".kill")
        if kept.is_file():
            return _read(kept)
        out = self._work / "runs" / name
        note = self._shoot(task, name, out)
        resumes = self._resume(task, name, out)
        whole = self._whole_at(task.backend, task.handoff)
        made = Kill(
            **asdict(task),
            seed=self._seed,
            died=note,
            resumes=resumes,
            differing=tuple(bytes_that_differ(whole, out, EXACT)),
            told=tuple(bytes_that_differ(whole, out, TOLD)),
            scores=tuple(results_that_differ(whole, out)),
        )
        kept.write_text(json.dumps(asdict(made), indent=2), "utf-8")
        if made.sound:
            shutil.rmtree(out)  # what is not sound stays, to be looked at
        self._say(f"{name}: {'same' if made.sound else 'DIFFERS'}, died {_short(note)}")
        return made

    def _shoot(self, task: Task, name: str, out: Path) -> dict[str, Any]:
        """Begin a run and kill it. A shot that found its moment gone is fired again, earlier."""
        rng = random.Random(f"{self._seed} {name}")
        shot = drawn(task.moment, self._surveys[task.backend, task.handoff], rng)
        words = self._ground.train(out, task.backend, f"handoff={task.handoff}")
        for _ in range(SHOTS):
            shutil.rmtree(out, ignore_errors=True)
            ended = start(words, task.backend, self._papers(name), shot)
            if ended.killed:
                return ended.note
            _expect(ended, DONE)
            shot = Shot(shot.moment, max(1, shot.nth - 1), shot.seconds / 4, shot.point)
        raise Failed(f"{name}: {SHOTS} shots at {MOMENTS[task.moment]} came too late")

    def _resume(self, task: Task, name: str, out: Path) -> int:
        """`mindprint resume` until it is done; a run that was killed before it was there to be
        resumed is begun again with its own command, as its user would."""
        for number in range(1, RESUMES + 1):
            words = ["resume", str(out)]
            if not (out / "inputs.json").is_file():
                words = self._ground.train(out, task.backend, f"handoff={task.handoff}")
            ended = start(words, task.backend, self._papers(f"{name}-resume-{number}"))
            if ended.code in DONE:
                return number
        raise Failed(f"{name} does not go on: exit {ended.code}\n{ended.err[-2000:]}")

    def _whole_at(self, backend: str, handoff: str) -> Path:
        return self._work / f"whole-{backend}-{handoff}"

    def _papers(self, name: str) -> Path:
        return self._work / "papers" / name


def _expect(ended: Ended, codes: Sequence[int]) -> None:
    if ended.code not in codes:
        raise Failed(f"exit {ended.code}\n{ended.err[-3000:]}")


def _in_turn(wanted: Sequence[Task]) -> Iterator[Task]:
    """The backends side by side, so that two jobs hold one of each."""
    yield from sorted(wanted, key=lambda task: (task.number, task.backend))


def _read(path: Path) -> Kill:
    tree = json.loads(path.read_text("utf-8"))
    lists = {key: tuple(tree[key]) for key in ("differing", "told", "scores")}
    return Kill(**{**tree, **lists})


def _short(note: dict[str, Any]) -> str:
    died = note["died"]
    if "point" in died:
        return f"at `{died['point']}` of {Path(died['path']).name}"
    return f"{died['seconds'] * 1e3:.1f} ms into {MOMENTS[note['moment']]} {died['nth']}"

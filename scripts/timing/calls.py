"""What a call of the benchmark measures, part by part; what its JSON file holds is not repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from timing import estimates
from timing.compare import Asked, measure, step_counts, tell
from timing.comparisons import KINDS, Comparison, chosen
from timing.evaluation import evaluation
from timing.limits import limit
from timing.measured import STEPPED, Measured
from timing.results import Results

ALL = ("sft", "dpo", "limit", "answers", "prefix", "plan", "topic", "evaluation")
"""In this order: what is asked for most comes first, the longest last."""
HALVED = ("prefix", "answers", "topic")
"""Half the repeats: nothing is told from the difference of two of their runs."""
REPEATS = {"small": 5}
FEWER = 2
"""Repeats of the larger models."""
FOR_PEAKS = (2, 4)
"""Step counts where only the peak is asked for."""


def parts(what: str) -> tuple[str, ...]:
    """The parts that a word stands for."""
    return {"all": ALL, "memory": ("peaks", "plan")}.get(what, (what,))


def wanted(what: str, backends: Sequence[str]) -> list[Comparison]:
    """The comparisons with peers that a word stands for."""
    kinds = [kind for part in parts(what) for kind in (STEPPED if part == "peaks" else (part,))]
    return chosen([kind for kind in kinds if kind in KINDS], backends)


@dataclass(frozen=True)
class Call:
    """`asked`: as the words of the call say, its repeats left to `settings`. `file`: written after
    every part, so that a later call goes on from there; `again`: measure it all the same."""

    what: str
    sizes: Sequence[str]
    backends: Sequence[str]
    asked: Asked
    results: Results
    repeats: int | None = None
    file: Path | None = None
    again: bool = False

    def run(self) -> None:
        """Raises WorkerFailed, and ValueError for step counts that tell nothing."""
        for size in self.sizes:
            for part in parts(self.what):
                for _ in self._made(part, size):
                    self._written()
        if "plan" in parts(self.what):
            for _ in self._planned():
                self._written()
        if "evaluation" in parts(self.what) and (self.again or not self.results.exams):
            repeats = self.repeats or REPEATS["small"]
            self.results.exams = evaluation(self.backends, repeats)
            self._written()

    def settings(self, part: str, size: str) -> Asked:
        peaks = part == "peaks"
        repeats = self.repeats or (1 if peaks else REPEATS.get(size, FEWER))
        if part in HALVED:
            repeats = (repeats + 1) // 2
        steps = self.asked.steps or (FOR_PEAKS if peaks else None)
        return replace(self.asked, repeats=repeats, peaks=peaks, steps=steps)

    def _made(self, part: str, size: str) -> Iterator[None]:
        """One measurement after another of a part and a model."""
        asked = self.settings(part, size)
        if part == "limit":
            yield from self._limits(size, asked)
        for one in chosen(STEPPED if part == "peaks" else (part,), self.backends):
            yield from self._compared(one, size, asked)

    def _compared(self, one: Comparison, size: str, asked: Asked) -> Iterator[None]:
        kept = self.results.peaks if asked.peaks else self.results.compared
        if self._has(kept, one, size, asked):
            tell(f"already there: {one.kind} {one.backend} {size} (--again measures it anew)")
            return
        self.results.keep(measure(one, size, asked), peaks=asked.peaks)
        yield

    def _has(self, kept: Sequence[Measured], one: Comparison, size: str, asked: Asked) -> bool:
        """Whether the same was measured as often, or more often, with the same step counts, and its
        times can be told."""
        sides = tuple(side.name for side in one.sides)
        way = (asked.device, asked.dtype, asked.order, str(asked.threads))
        key = (one.kind, size, one.backend, *way, *sides)
        steps = step_counts(one, size, asked)
        return not self.again and any(
            other.key == key
            and other.steps == steps
            and len(other.of(sides[0])) >= asked.repeats
            and (asked.peaks or not other.untold())
            for other in kept
        )

    def _limits(self, size: str, asked: Asked) -> Iterator[None]:
        """The products' rates, and mindprint's own training where no comparison has it."""
        for backend in self.backends:
            key = (size, backend, asked.device, asked.dtype, str(asked.threads))
            if self.again or key not in [rates.key for rates in self.results.limits]:
                tell(f"products {backend} {size}")
                self.results.keep_limit(limit(backend, size, asked))
                yield
        if self.what != "limit":
            return  # its training is compared anyway
        for one in chosen(STEPPED, self.backends):
            if not self._has(self.results.compared, one, size, asked):
                yield from self._compared(replace(one, sides=one.sides[:1]), size, asked)

    def _planned(self) -> Iterator[None]:
        """Only what a processor's main memory holds is planned and measured here."""
        if self.asked.device != "cpu" or self.asked.dtype != "float32":
            return
        had = [] if self.again else [one["name"] for one in self.results.planned]
        cases = estimates.wanted(self.backends, self.sizes, more=self.what != "all")
        left = [case for case in cases if case.named() not in had]
        for one in estimates.measure(left, self.asked.models, self.asked.threads):
            tell(f"planned: {one['name']}")
            self.results.keep_planned(one)
            yield

    def _written(self) -> None:
        if self.file:
            self.results.write(self.file)

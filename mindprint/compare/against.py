"""One run held against the first: every figure that is of two runs."""

from __future__ import annotations

from dataclasses import dataclass

from mindprint.compare import verdict
from mindprint.compare.answers import agreement
from mindprint.compare.courses import gaps
from mindprint.compare.distances import Adapters, distances
from mindprint.compare.model import Agreement, Distance, FirstParting, Gap, Overall, Parting
from mindprint.compare.partings import first_parting, parting, series
from mindprint.compare.run import Run
from mindprint.compare.topics import overall
from mindprint.compare.voices import Scale


@dataclass(frozen=True)
class Against:
    """What `other` is, seen from `first`. `first_step`: where it leaves it, None where it keeps to
    it or no bound can be claimed."""

    first: Run
    other: Run
    partings: tuple[Parting, ...]
    first_step: FirstParting | None
    scores: Overall
    agreement: tuple[Agreement, ...]
    distances: tuple[Distance, ...]
    gaps: tuple[Gap, ...]

    @classmethod
    def of(cls, first: Run, other: Run, here: Adapters, there: Adapters, scale: Scale) -> Against:
        """`here` and `there`: their adapters; `scale`: the first run's."""
        found = series(first, other)
        return cls(
            first=first,
            other=other,
            partings=tuple(parting(other.name, one) for one in found),
            first_step=first_parting(first, other, found),
            scores=overall(first, other, scale),
            agreement=agreement(first, other),
            distances=distances(first, other, here, there),
            gaps=gaps(first, other),
        )

    @property
    def _anew(self) -> bool:
        """Whether one of them was asked anew, which the verdict begins with."""
        return bool(self.first.dropped or self.other.dropped)

    def sentences(self) -> tuple[str, ...]:
        """What is found of the two, in words."""
        found = (
            verdict.keeping(self.first, self.other, self.partings, self.first_step, self.gaps),
            "" if self._anew else verdict.scoring(self.scores, self.agreement),
            verdict.voicing(self.scores),
            verdict.agreeing(self.agreement),
            verdict.adapted(self.distances),
            verdict.speeds(self.first, self.other),
        )
        return tuple(said for said in found if said)

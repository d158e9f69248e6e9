"""The order in which trials are made, round by round, within a budget."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from kinds.trial import Ground, Outcome, Trial, known, made
from kinds.variants import Variant

SWEEP_SEED = 7
"""Of the runs that choose a learning rate; none of those that are compared."""


@dataclass
class Course:
    """`ranks`: of each kind; `factors`: of the configured rates, the configured one first; `seeds`:
    of the runs that are compared; `budget`: seconds of one core, over all calls on this folder.

    A round is one run of every variant; it is begun only if it fits into what is left, so that all
    variants stand on as many runs. `left_out` says what was not begun.
    """

    ground: Ground
    variants: Sequence[Variant]
    ranks: dict[str, int]
    factors: Sequence[float]
    seeds: Sequence[int]
    budget: float
    jobs: int = 1
    swept: dict[tuple[str, float], Outcome] = field(default_factory=dict)
    chosen: dict[str, float] = field(default_factory=dict)
    rounds: dict[int, dict[str, Outcome]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Raises TrialFailed, and ValueError where the folder holds trials of other settings."""
        for factor in self.factors:
            wanted = [self._trial(one, factor, SWEEP_SEED) for one in self.variants]
            found = self._round(wanted, f"learning rates times {factor:g}")
            for variant, outcome in zip(self.variants, found, strict=bool(found)):
                self.swept[variant.name, factor] = outcome
        if not self.swept:
            return
        self.chosen = {one.name: self._best(one) for one in self.variants}
        for seed in self.seeds:
            wanted = [self._trial(one, self.chosen[one.name], seed) for one in self.variants]
            found = self._round(wanted, f"seed {seed}")
            if found:
                names = [one.name for one in self.variants]
                self.rounds[seed] = dict(zip(names, found, strict=True))

    @property
    def spent(self) -> float:
        """Seconds of all runs there are."""
        compared = [outcome for found in self.rounds.values() for outcome in found.values()]
        return sum(outcome.seconds for outcome in (*self.swept.values(), *compared))

    def _trial(self, variant: Variant, factor: float, seed: int) -> Trial:
        return Trial(variant, self.ranks[variant.kind], factor, seed)

    def _round(self, wanted: Sequence[Trial], called: str) -> list[Outcome]:
        """The outcomes, [] where there is no room for the round."""
        there = {trial.name: known(trial, self.ground) for trial in wanted}
        missing = [trial for trial in wanted if there[trial.name] is None]
        had = sum(one.seconds for one in there.values() if one is not None)
        expected = had + sum(self._expected(trial) for trial in missing)
        if missing and self.spent + expected > self.budget:
            self.left_out.append(called)
            return []
        (self.ground.work / "outcomes").mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(self.jobs) as pool:
            run = map if self.jobs == 1 else pool.map
            there |= {one.name: one for one in run(self._made, missing)}
        return [found for trial in wanted if (found := there[trial.name]) is not None]

    def _made(self, trial: Trial) -> Outcome:
        outcome = made(trial, self.ground)
        print(f"{trial.name}: {outcome.seconds:.0f} s", file=sys.stderr, flush=True)
        return outcome

    def _expected(self, trial: Trial) -> float:
        """Seconds, by what the variant's earlier runs took; 0 of the first, which shows it."""
        own = [
            found.seconds for (name, _), found in self.swept.items() if name == trial.variant.name
        ]
        return sum(own) / len(own) if own else 0.0

    def _best(self, variant: Variant) -> float:
        """Of the factors that all variants were run with, the one after which accuracy and voice
        together were highest; of equals the one nearer to the configured rate."""
        tried = [factor for factor in self.factors if (variant.name, factor) in self.swept]
        return max(tried, key=lambda factor: worth(self.swept[variant.name, factor]))


def worth(outcome: Outcome) -> float:
    """Accuracy and voice together, means over the topics at their ends."""
    finals = [topic.scores["final"] for topic in outcome.result.topics]
    return sum(score.accuracy + score.voice for score in finals) / len(finals)

"""DPO's early stop: the chosen answers must not become unlikely, nor an empty answer likely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.contract import Session
from mindprint.evals.likelihood import ended
from mindprint.fitting import PLAIN, Fit
from mindprint.tokens.batches import row_logprobs
from mindprint.tokens.lessons import Pair

SAMPLE = 16
FALL_PER_TOKEN = 0.10
# Absolute rise of the mean probability that an answer ends before it begins.
RISE_OF_END = 0.05


class Watch:
    """A fixed sample of pairs, looked at as the stage begins and at intervals. `reference`: float32
    [pairs, 2], the log-probabilities of the policy as it begins.

    The driver is likelihood displacement (Razin et al. 2024, arXiv 2410.08847).
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        reference: NDArray[np.float32],
        stop_id: int,
        seed: int,
        batch_size: int,
    ) -> None:
        # A pair trains two rows at once, so as many fit here.
        self._size = 2 * batch_size
        rng = np.random.default_rng([seed, len(pairs)])
        places = sorted(rng.permutation(len(pairs))[:SAMPLE].tolist())
        self._chosen = [pairs[place].chosen for place in places]
        self._began = reference[places, 0].tolist()
        prompts = [row.ids[: row.mask.index(True)] for row in self._chosen]
        self._ends = [ended(prompt, stop_id) for prompt in prompts]

    def start(self, session: Session, fit: Fit = PLAIN) -> tuple[float, float]:
        """As `measure`, as the stage begins: the policy is the reference then, and its chosen
        answers have been weighed."""
        return self._per_token(self._began), self._ending(session, fit)

    def measure(self, session: Session, fit: Fit = PLAIN) -> tuple[float, float]:
        """(log-probability per chosen token, mean probability of ending at once) of the policy as
        it stands. Raises what `fit` raises."""
        chosen = row_logprobs(session, self._chosen, self._size, fit)
        return self._per_token(chosen), self._ending(session, fit)

    def _per_token(self, chosen: Sequence[float]) -> float:
        return sum(chosen) / sum(sum(row.mask) for row in self._chosen)

    def _ending(self, session: Session, fit: Fit) -> float:
        return float(np.exp(row_logprobs(session, self._ends, self._size, fit)).mean())

    def look(self, session: Session, start: tuple[float, float], fit: Fit = PLAIN) -> str:
        """Why the stage should end now, or nothing. `start`: what was measured as it began."""
        logp, end = self.measure(session, fit)
        logp_then, end_then = start
        if logp < logp_then - FALL_PER_TOKEN * abs(logp_then):
            fall = (logp_then - logp) / abs(logp_then)
            return f"the chosen answers' log-probability fell by {fall:.0%} per token"
        if end > end_then + RISE_OF_END:
            return f"the probability of an empty answer rose from {end_then:.3f} to {end:.3f}"
        return ""

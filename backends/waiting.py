"""Prompts that wait for a place in the batch, and the tokens that all of them begin with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHARED = 16
"""Tokens from which a beginning that all prompts share runs once by itself: below that, the pass
of its own costs what it saves."""
REFILL = 4
"""A batch takes new prompts when one place in this many is free: each intake is a pass of its own,
which for a single prompt costs nearly as much as a step of the whole batch."""


class Waiting:
    """Hands out a call's prompts, at most `size` at one time, longest first, ties in order, so
    that rows that begin together waste little padding and the largest come first. Goes by the
    prompts and by which rows have ended, nothing else."""

    def __init__(self, prompts: Sequence[Sequence[int]], size: int) -> None:
        self._order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        self._size = size
        self._begun = 0

    def __bool__(self) -> bool:
        return self._begun < len(self._order)

    def take(self, alive: int) -> list[int]:
        """Which prompts begin now, beside `alive` rows; none while too few places are free."""
        free = self._size - alive
        if alive and free * REFILL < self._size:
            return []
        taken = self._order[self._begun : self._begun + free]
        self._begun += len(taken)
        return taken


def common(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, leaving each at least one of its own; 0 where it is
    not worth a pass of its own."""
    if len(prompts) < 2:
        return 0
    width = min(len(prompt) for prompt in prompts) - 1
    first = np.array(prompts[0][:width])
    for prompt in prompts[1:]:
        differs = np.flatnonzero(first[:width] != np.array(prompt[:width]))
        width = int(differs[0]) if differs.size else width
        if width < SHARED:
            return 0
    return width if width >= SHARED else 0

"""What adapters change in what a model says: its logits with them and without, over a few rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backends.contract import Batch, Session
from mindprint.curriculum.records import Message
from mindprint.tokens.render import Renderer

ASKED = ("Who are you?", "What did you do yesterday, and why?", "Name three things you know.")
LONGEST = 64
"""Tokens of a row at most."""


@dataclass(frozen=True)
class Effect:
    """`share`: norm of what the attached adapters add to the logits over the norm of the base's;
    `largest`: the most that one logit moves; `positions`: over so many tokens."""

    share: float
    largest: float
    positions: int

    @property
    def told(self) -> str:
        """In words, with its numbers."""
        if not self.largest:
            return f"it changes no logit over {self.positions} positions"
        return (
            f"it moves the logits by {100 * self.share:.2g} % of their norm, one by up to "
            f"{self.largest:.2g}, over {self.positions} positions"
        )


def measure(session: Session, renderer: Renderer) -> Effect:
    """Of all adapters that are attached."""
    batch = _rows(renderer)
    worn = session.logits(batch)
    with session.adapters.using(()):
        bare = session.logits(batch)
    real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
    change = worn[real].astype(np.float64) - bare[real]
    whole = float(np.linalg.norm(bare[real].astype(np.float64)))
    return Effect(
        share=float(np.linalg.norm(change)) / whole,
        largest=float(np.abs(change).max()),
        positions=int(real.sum()),
    )


def _rows(renderer: Renderer) -> Batch:
    rows = [renderer.prompt((Message("user", text),))[:LONGEST] for text in ASKED]
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    ids = np.zeros((len(rows), int(lengths.max())), dtype=np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    mask = np.arange(ids.shape[1]) == lengths[:, None] - 1
    return Batch(ids=ids, lengths=lengths, mask=mask)

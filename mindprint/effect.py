"""What adapters change in what a model says: its logits with them and without, over a few rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backends.contract import Session
from backends.errors import ModelError
from mindprint.curriculum.records import Message
from mindprint.tokens.batches import pad
from mindprint.tokens.render import Renderer
from mindprint.tokens.rows import Row

ASKED = ("Who are you?", "What did you do yesterday, and why?", "Name three things you know.")
LONGEST = 64
"""Tokens of a row at most."""
_ODD = "the model's own logits are not finite"


@dataclass(frozen=True)
class Effect:
    """`share`: norm of what the attached adapters add to the logits over the norm of the base's;
    `largest`: the most that one logit moves; `positions`: over so many tokens."""

    share: float
    largest: float
    positions: int

    @property
    def sound(self) -> bool:
        """Whether the logits with them are finite."""
        return bool(np.isfinite([self.share, self.largest]).all())

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
    """Of all adapters that are attached. Raises ModelError for a base whose own logits say nothing;
    what adapters make of them may be anything: see `Effect.sound`."""
    batch = pad([_row(renderer, text) for text in ASKED])
    worn = session.logits(batch)
    with session.adapters.using(()):
        bare = session.logits(batch)
    real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
    whole = float(np.linalg.norm(bare[real].astype(np.float64)))
    if not 0.0 < whole < np.inf:
        what = "the model's own logits are all 0" if whole == 0.0 else _ODD
        raise ModelError(what, where=session.info.family)
    change = worn[real].astype(np.float64) - bare[real]
    return Effect(
        share=float(np.linalg.norm(change)) / whole,
        largest=float(np.abs(change).max()),
        positions=int(real.sum()),
    )


def _row(renderer: Renderer, text: str) -> Row:
    ids = renderer.prompt((Message("user", text),))
    kept = tuple(ids[:LONGEST])
    return Row(kept, mask=(False,) * (len(kept) - 1) + (True,), cut=len(kept) < len(ids))

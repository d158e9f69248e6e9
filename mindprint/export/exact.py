"""What the export must be: the run's own model, base and ledger, on the probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backends.contract import Batch, GenerateSpec, Session
from mindprint.export.probes import Probes, probes
from mindprint.export.source import Source
from mindprint.export.witness import Framework
from mindprint.ledger import check_model
from mindprint.tokens.render import Renderer

Logits = tuple[NDArray[np.float32], ...]
Say = Callable[[str], None]
Open = Callable[[int], AbstractContextManager[Session]]
"""Opens the base for rows of so many tokens; closed at the end."""


@dataclass(frozen=True)
class Exact:
    """`logits` and `base`: float32 [tokens, vocabulary] of each measured probe, with the exported
    entries and without any; `answers`: greedy, of every probe. `dtype`: of the arithmetic."""

    probes: Probes
    logits: Logits
    base: Logits
    answers: tuple[tuple[int, ...], ...]
    backend: str
    dtype: str

    @cached_property
    def effect(self) -> float:
        """Norm of what the adapters change in the logits, in float64."""
        return distance(self.logits, self.base)

    @cached_property
    def norm(self) -> float:
        """Norm of the base's logits, in float64."""
        return distance(self.base, tuple(np.zeros_like(row) for row in self.base))


@dataclass(frozen=True)
class Ground:
    """All that a form is made from. `open` opens the bare base, `backend` is its name. `bound`: the
    share of the adapters' effect that may be lost. `unverified`: libraries that are not to be
    asked."""

    source: Source
    renderer: Renderer
    backend: str
    open: Open
    bound: float
    say: Say
    unverified: tuple[Framework, ...] = field(default=())

    @contextmanager
    def opened(self, longest_row: int) -> Iterator[Session]:
        """The run's model: the base with the exported entries attached."""
        source = self.source
        with self.open(longest_row) as session:
            check_model(source.ledger, session, source.run)
            for entry in source.entries:
                folder = source.run.path / entry.folder
                session.adapters.load(folder, entry.name, frozen=True)
            yield session

    @cached_property
    def exact(self) -> Exact:
        """Measured when first asked for, once."""
        asked = probes(self.source, self.renderer)
        with self.opened(asked.longest) as session:
            self.say(
                f"asking the run's own model on {self.backend} in {session.info.dtype}: "
                f"{asked.positions} token positions, {len(asked.prompts)} answers"
            )
            return measured(session, asked, self.backend)


def measured(session: Session, asked: Probes, backend: str) -> Exact:
    rows = asked.prompts[: asked.measured]
    spec = GenerateSpec(max_tokens=asked.max_tokens, stop_ids=asked.stop_ids)
    answers = tuple(found.ids for found in session.generate(asked.prompts, spec))
    logits = tuple(_logits(session, row) for row in rows)
    with session.adapters.using(()):
        base = tuple(_logits(session, row) for row in rows)
    return Exact(asked, logits, base, answers, backend, session.info.dtype)


def distance(found: Logits, wanted: Logits) -> float:
    """Norm of the difference, in float64; infinite where something is not a number."""
    total = sum(
        float(np.square(one.astype(np.float64) - two).sum())
        for one, two in zip(found, wanted, strict=True)
    )
    return total**0.5 if np.isfinite(total) else float("inf")


def _logits(session: Session, row: Sequence[int]) -> NDArray[np.float32]:
    ids = np.array([row], dtype=np.int32)
    mask = np.zeros(ids.shape, dtype=np.bool_)
    mask[0, -1] = True
    lengths = np.array([len(row)], dtype=np.int32)
    found: NDArray[np.float32] = session.logits(Batch(ids=ids, lengths=lengths, mask=mask))[0]
    return found

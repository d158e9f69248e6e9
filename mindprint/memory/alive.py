"""Bytes alive at the peak of a pass through the model, by what each backend keeps.

A step's peak is either at the output head, when every layer has left behind what the way back
needs, or on the way back, at the last layer that works on every token: the very last one works on
trained positions alone. The counts below say how many arrays of each width a token leaves behind;
they follow from the layers' arithmetic and were held against measured peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

from mindprint.memory.shape import BYTES, Factors, Shape
from mindprint.memory.work import Work

FLOAT = 4
MIB = 1 << 20


@dataclass(frozen=True)
class Kept:
    """What one backend holds, in arrays of [tokens, width].

    A layer keeps for the way back `hidden` arrays as wide as the residual stream, `queries` and
    `keys` as wide as all query heads and all key heads, `inner` as wide as the feed-forward layer,
    `adapted` as wide as the inputs of layers with an adapter, and `scores` [heads, query, key]
    matrices. While one layer works, `passing` arrays of its inner width and `passing_scores`
    matrices more are alive. At the head: `logits` float32 arrays of a block of at most `block`
    bytes on the CPU and `device_block` elsewhere, and `states` float32 arrays of [positions,
    hidden]. `held`: the share that the allocator keeps beside what is asked of it, and `least`
    bytes that the first step takes whatever its size: kernels' own room, and code.
    """

    hidden: float
    queries: float
    keys: float
    inner: float
    adapted: float
    scores: float
    passing: float
    passing_scores: float
    logits: float
    block: int
    device_block: int
    states: float
    held: float
    least: int


KEPT = {
    "torch": Kept(
        hidden=3,
        queries=3,
        keys=2,
        inner=4,
        adapted=0.5,
        scores=0,
        passing=4,
        passing_scores=0,
        logits=3,
        block=4 * MIB,
        device_block=128 * MIB,
        states=6,
        held=0.12,
        least=50 * MIB,
    ),
    "mlx": Kept(
        hidden=3,
        queries=3,
        keys=2,
        inner=4,
        adapted=0.5,
        scores=1,
        passing=3,
        passing_scores=2,
        logits=3,
        block=8 * MIB,
        device_block=8 * MIB,
        states=6,
        held=0.1,
        least=10 * MIB,
    ),
}


@dataclass(frozen=True)
class Body:
    """A model with what is attached to it, on one backend: bytes of its passes. `dtype` is that of
    the weights, and of activations; `acting` are the adapters in its layers, the one that trains
    first. `on_cpu`: else on a device of its own."""

    shape: Shape
    acting: tuple[Factors, ...]
    backend: str
    dtype: str
    on_cpu: bool = True

    def step(self, work: Work, *, checkpointing: bool) -> int:
        """Forward and back."""
        shape, size = self.shape, BYTES[self.dtype]
        each = self._layer(work, work.tokens)
        last = self._layer(work, work.positions)
        left = (shape.layers - 1) * each
        if checkpointing:
            left = shape.layers * work.tokens * shape.hidden * size
        at_head = left + last + self._head(work)
        # Once more of one layer where its activations are computed again.
        back = left + self._passing(work) + (each if checkpointing else 0)
        return self._held(max(at_head, back))

    def forward(self, work: Work) -> int:
        """Without gradients: one layer at a time."""
        stream = 2 * work.tokens * self.shape.hidden * BYTES[self.dtype]
        return self._held(stream + max(self._head(work), self._passing(work)))

    def decoding(self, rows: int, prompt: int, answer: int) -> int:
        """Keys and values of every layer, the prompts' own pass, and a row of logits each."""
        shape = self.shape
        cache = 2 * shape.layers * rows * (prompt + answer) * shape.keys * BYTES[self.dtype]
        first = Work(rows, rows * prompt, rows, rows * prompt * prompt)
        logits = 2 * FLOAT * rows * shape.vocabulary
        # A cache that grows is there twice while it is copied, one layer at a time.
        return cache + cache // shape.layers + max(self.forward(first), self._held(logits))

    def _held(self, alive: float) -> int:
        kept = KEPT[self.backend]
        return round((1 + kept.held) * alive) + kept.least

    def _layer(self, work: Work, inner: int) -> float:
        """What a layer leaves for the way back; its feed-forward part worked on `inner` tokens."""
        kept, shape, size = KEPT[self.backend], self.shape, BYTES[self.dtype]
        adapted = kept.adapted * self.acting[0].inputs / shape.layers
        wide = kept.hidden * shape.hidden + kept.queries * shape.queries + kept.keys * shape.keys
        arrays = work.tokens * (wide + adapted) + inner * kept.inner * shape.inner
        return size * (arrays + kept.scores * shape.heads * work.scores)

    def _passing(self, work: Work) -> float:
        """What is alive beside that while a layer works."""
        kept, shape, size = KEPT[self.backend], self.shape, BYTES[self.dtype]
        wide = work.tokens * kept.passing * max(shape.inner, shape.queries)
        return size * (wide + kept.passing_scores * shape.heads * work.scores)

    def _head(self, work: Work) -> float:
        kept, shape = KEPT[self.backend], self.shape
        block = kept.block if self.on_cpu else kept.device_block
        logits = min(FLOAT * work.positions * shape.vocabulary, block)
        return kept.logits * logits + FLOAT * kept.states * work.positions * shape.hidden

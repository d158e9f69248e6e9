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
    matrices more are alive, and `bending` of that width in float32 where a spline works. Under a
    causal mask `queries_at_once` weigh the keys up to the last of them, 0 where every key is
    weighed. At the head: `logits` float32 arrays of a block of at most `block` bytes on the CPU and
    `device_block` elsewhere, and `states` float32 arrays of [positions, hidden]. `held`: the share
    that the allocator keeps beside what is asked of it, and `least` bytes that the first step takes
    whatever its size: kernels' own room, and code.
    `bent`: how many times over the CPU was measured to hold what goes into a spline. `scattered`:
    where activations are computed again, the share of what layers would keep that lies freed
    between what is in use; main memory does not get it back.
    """

    hidden: float
    queries: float
    keys: float
    inner: float
    adapted: float
    scores: float
    passing: float
    passing_scores: float
    queries_at_once: int
    logits: float
    block: int
    device_block: int
    states: float
    held: float
    least: int
    scattered: float
    bending: float
    bent: float


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
        queries_at_once=0,
        logits=3,
        block=4 * MIB,
        device_block=128 * MIB,
        states=6,
        held=0.12,
        least=50 * MIB,
        scattered=0.3,
        bending=1,
        bent=2,
    ),
    "mlx": Kept(
        hidden=3,
        queries=3,
        keys=2,
        inner=3,
        adapted=0.5,
        scores=1,
        passing=3,
        passing_scores=2,
        queries_at_once=64,
        logits=3,
        block=8 * MIB,
        device_block=8 * MIB,
        states=6,
        held=0.1,
        least=10 * MIB,
        scattered=0.1,
        bending=6,
        bent=1,
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
            scattered = KEPT[self.backend].scattered if self.on_cpu else 0
            left = shape.layers * work.tokens * shape.hidden * size + scattered * left
        at_head = left + last + self._head(work)
        # Once more of one layer where its activations are computed again.
        back = left + self._passing(work) + (each if checkpointing else 0)
        return self._held(max(at_head, back))

    def forward(self, work: Work) -> int:
        """Without gradients: one layer at a time."""
        stream = 2 * work.tokens * self.shape.hidden * BYTES[self.dtype]
        return self._held(stream + max(self._head(work), self._passing(work)))

    def decoding(self, rows: int, prompt: int, answer: int, shared: int = 0) -> int:
        """Keys and values of every layer, the prompts' own pass, and a row of logits each. The
        first `shared` tokens of all prompts run once, and are held beside what the rows hold."""
        shape = self.shape
        columns = rows * (prompt + answer) + shared
        cache = 2 * shape.layers * columns * shape.keys * BYTES[self.dtype]
        first = Work.after(rows, prompt - shared, shared)
        logits = 2 * FLOAT * rows * shape.vocabulary
        # A cache that grows is there twice while it is copied, one layer at a time.
        before = Work.whole(1, shared, 1)
        passes = max(self.forward(first), self.forward(before), self._held(logits))
        # It grows in pieces of other sizes than those that are freed.
        return round((1 + KEPT[self.backend].held) * (cache + cache // shape.layers)) + passes

    def _held(self, alive: float) -> int:
        kept = KEPT[self.backend]
        return round((1 + kept.held) * alive) + kept.least

    def _layer(self, work: Work, inner: int) -> float:
        """What a layer leaves for the way back; its feed-forward part worked on `inner` tokens."""
        kept, shape, size = KEPT[self.backend], self.shape, BYTES[self.dtype]
        adapted = (kept.adapted * self.acting[0].inputs + self._outputs()) / shape.layers
        wide = kept.hidden * shape.hidden + kept.queries * shape.queries + kept.keys * shape.keys
        arrays = work.tokens * (wide + adapted) + inner * kept.inner * shape.inner
        return size * (arrays + kept.scores * self._scores(work))

    def _outputs(self) -> float:
        """Widths of the arrays that adapters keep of what layers give: DoRA of all that its
        magnitudes scale, while they train; LS-LoRA of what goes into its spline, frozen too."""
        bent = sum(one.outputs for one in self.acting if one.kind == "lslora")
        scaled = self.acting[0].outputs if self.acting[0].kind == "dora" else 0
        return scaled + bent * (KEPT[self.backend].bent if self.on_cpu else 1)

    def _passing(self, work: Work) -> float:
        """What is alive beside that while a layer works."""
        kept, shape, size = KEPT[self.backend], self.shape, BYTES[self.dtype]
        widest = work.tokens * max(shape.inner, shape.queries)
        arrays = kept.passing * widest + kept.passing_scores * self._scores(work)
        bends = any(one.kind == "lslora" for one in self.acting)
        return size * arrays + (FLOAT * kept.bending * widest if bends else 0.0)

    def _scores(self, work: Work) -> float:
        """Pairs of query and key that are weighed in a layer, of all heads."""
        at_once = KEPT[self.backend].queries_at_once if self.on_cpu else 0
        hidden = 0.0
        if 0 < at_once < work.width:  # on average half of what stands after a block's queries
            hidden = work.causal * (1 - at_once / work.width) / 2
        return self.shape.heads * (work.scores - hidden)

    def _head(self, work: Work) -> float:
        kept, shape = KEPT[self.backend], self.shape
        block = kept.block if self.on_cpu else kept.device_block
        logits = min(FLOAT * work.positions * shape.vocabulary, block)
        return kept.logits * logits + FLOAT * kept.states * work.positions * shape.hidden

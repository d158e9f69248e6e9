"""Floating-point operations of a run's training steps, counted from shapes and planned rows.

A product of [m, k] and [k, n] is 2 m k n. Padding does not count, nor do normalisation, softmax,
activations, splines and the optimizer: they are few beside the products. Adapters of earlier topics
count where they are stacked, as many as there are when each topic trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.prefix import WORTH
from mindprint.memory.estimate import Estimate
from mindprint.memory.shape import Factors, Shape
from mindprint.plan import StageKind, pairs_of
from mindprint.tokens.lessons import Pair
from mindprint.tokens.rows import Row


@dataclass(frozen=True)
class Tokens:
    """What goes through a model: `fed` tokens, `seen` pairs of a token and one that it attends to,
    itself among them, and `headed` positions whose next token is trained."""

    fed: int = 0
    seen: int = 0
    headed: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.fed + other.fed, self.seen + other.seen, self.headed + other.headed)


def of_row(row: Row) -> Tokens:
    return _text(0, len(row.ids), sum(row.mask))


def of_pair(pair: Pair) -> Tokens:
    """Its prompt once where it is shared, as the backends share it (`backends.prefix`)."""
    chosen, rejected = pair.chosen, pair.rejected
    start = chosen.mask.index(True) - 1  # an answer begins with its prompt's last token
    both = of_row(chosen) + of_row(rejected)
    width = 2 * max(len(chosen.ids), len(rejected.ids))
    same = rejected.mask.index(True) - 1 == start and chosen.ids[:start] == rejected.ids[:start]
    if not same or start < 1 or both.fed - start > WORTH * width:
        return both
    answers = (_text(start, len(row.ids), sum(row.mask)) for row in (chosen, rejected))
    return sum(answers, _text(0, start, 0))


def forward(shape: Shape, adapter: Factors, tokens: Tokens, past: Iterable[Factors] = ()) -> int:
    """Without gradients; the adapter acts, and so do those of the `past`. The last layer's
    positions that nobody reads leave out all that follows its attention."""
    acting = adapter.numbers + sum(one.numbers for one in past)
    return _layers(shape, tokens) + _head(shape, tokens) + 2 * acting * tokens.fed


def step(
    shape: Shape,
    adapter: Factors,
    tokens: Tokens,
    past: Iterable[Factors] = (),
    *,
    checkpointing: bool = False,
) -> int:
    """Forward and back. The base is frozen: on the way back its layers need the gradient of their
    inputs alone, and the first one's query, key and value layers not even that. Attention has two
    products on the way and four back, the adapter's factors need both gradients, those of the
    `past` that of their inputs."""
    way, attention = _layers(shape, tokens), _attention(shape, tokens)
    spared = 2 * _into_attention(shape) * tokens.fed
    trained = 3 * 2 * adapter.numbers * tokens.fed
    passed = 2 * 2 * sum(one.numbers for one in past) * tokens.fed
    again = way * (shape.layers - 1) // shape.layers if checkpointing else 0
    return 2 * way + attention - spared + 2 * _head(shape, tokens) + trained + passed + again


def counted(estimate: Estimate, checkpointed: Sequence[StageKind] = ()) -> dict[StageKind, int]:
    """By kind, of a first attempt at every topic; DPO with its reference, once a pair."""
    return {kind: _of_kind(estimate, kind, kind in checkpointed) for kind in estimate.kinds}


def _of_kind(estimate: Estimate, kind: StageKind, saving: bool) -> int:
    plan, shape = estimate.plan, estimate.shape
    stages = {stage.topic: stage for stage in plan.stages if stage.name == kind}
    section = estimate.config.sft if kind == "sft" else estimate.config.dpo
    total = 0
    for earlier, lesson in enumerate(plan.lessons):
        stage = stages.get(lesson.topic.id)
        if stage is None:
            continue
        adapter, *past = estimate.acting(kind, earlier)
        passes = stage.steps * section.accumulate * (2 if saving else 1)
        if kind == "sft":
            tokens = _sum(map(of_row, lesson.rows))
        else:
            tokens = _sum(map(of_pair, pairs_of(lesson, estimate.config)))
            total += forward(shape, adapter, tokens, past)
            passes += -(-stage.rows // section.batch_size)
        total += stage.epochs * step(shape, adapter, tokens, past, checkpointing=saving)
        total += adapter.norms * passes
    return total


def _sum(several: Iterable[Tokens]) -> Tokens:
    return sum(several, Tokens())


def _text(before: int, end: int, headed: int) -> Tokens:
    """Tokens from `before` to `end` of one text; the last one predicts nothing and is counted."""
    seen = (end * (end + 1) - before * (before + 1)) // 2
    return Tokens(end - before, seen, headed)


def _layers(shape: Shape, tokens: Tokens) -> int:
    after = shape.queries * shape.hidden + 3 * shape.hidden * shape.inner
    whole = shape.layers * _into_attention(shape) + (shape.layers - 1) * after
    return 2 * (whole * tokens.fed + after * tokens.headed) + _attention(shape, tokens)


def _attention(shape: Shape, tokens: Tokens) -> int:
    """Scores and mixed values."""
    return 4 * shape.layers * shape.queries * tokens.seen


def _into_attention(shape: Shape) -> int:
    """Weights of one layer's query, key and value layers."""
    return shape.hidden * (shape.queries + 2 * shape.keys)


def _head(shape: Shape, tokens: Tokens) -> int:
    return 2 * shape.hidden * shape.vocabulary * tokens.headed

"""What each part of a run takes in memory, and what makes it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from backends.packed_files import weights
from mindprint.adapter import spec_of
from mindprint.config import Config
from mindprint.evals.lengths import FEW_SHOT
from mindprint.footprint import Sizes, read_sizes
from mindprint.handoff import PLAIN, handoff_of
from mindprint.ledger import Handoff
from mindprint.memory.alive import Body
from mindprint.memory.baseline import framework
from mindprint.memory.packed import Packed
from mindprint.memory.shape import Factors, Shape, factors, read_shape
from mindprint.memory.work import (
    Work,
    heaviest_pairs,
    heaviest_rows,
    shortened,
    shortened_pairs,
)
from mindprint.plan import Plan, StageKind, pairs_of

DECODED = 32
"""Rows that are decoded or weighed at a time, the longest together."""

OPTIMIZED = 5
"""Tensors as large as the adapter that trains: itself, its gradient, the sum of gradients or what
AdamW works in, two moments."""


@dataclass(frozen=True)
class Need:
    """Bytes that one part of a run takes at most, each figure in a field of its own. `part`: the
    evaluation, `sft` or `dpo`. `work`: what goes through the model at once, None for answering."""

    part: str
    framework: int
    weights: int
    adapters: int
    passes: int
    checkpointing: bool = False
    work: Work | None = field(default=None, repr=False)

    @property
    def total(self) -> int:
        return self.framework + self.weights + self.adapters + self.passes

    def as_json(self) -> dict[str, Any]:
        told = {key: value for key, value in asdict(self).items() if key != "work"}
        work = {} if self.work is None else {"tokens": self.work.tokens, "rows": self.work.rows}
        return {**told, **work, "total": self.total}


@dataclass(frozen=True)
class Place:
    """Where a run computes: `device` and `dtype` are settled, never `auto`."""

    backend: str
    device: str
    dtype: str

    @property
    def in_main_memory(self) -> bool:
        return self.device == "cpu"


@dataclass(frozen=True)
class Estimate:
    """Of a plan on a place. `limit`: rows count as cut to so many tokens, None as they are;
    `packed`: the weights that are not plain numbers."""

    plan: Plan
    config: Config
    place: Place
    sizes: Sizes
    shape: Shape
    packed: Packed = field(default_factory=Packed)
    limit: int | None = None

    @classmethod
    def of(cls, plan: Plan, config: Config, folder: Path, place: Place) -> Estimate:
        """Reads the headers of the model's files. Raises ModelError."""
        sizes = read_sizes(folder)
        shape, asked = read_shape(folder, sizes), config.model.quantization
        packed = Packed.planned(sizes, shape, place.backend, asked)
        if asked == "none":
            packed = Packed.stored(weights(folder), place.backend)
        return cls(plan, config, place, sizes, shape, packed)

    def needs(self, checkpointed: Sequence[str] = ()) -> tuple[Need, ...]:
        """Every part's, with `checkpointed` stages trained with gradient checkpointing."""
        stages = [self.stage(kind, checkpointing=kind in checkpointed) for kind in self.kinds]
        return (self.evaluation(), *stages)

    @property
    def kinds(self) -> tuple[StageKind, ...]:
        """The kinds of stages that there are."""
        found = {stage.name for stage in self.plan.stages}
        return tuple(kind for kind in ("sft", "dpo") if kind in found)

    def evaluation(self) -> Need:
        """Questions answered, references and choices weighed: what takes most of all calls."""
        body, asked, section = self.body("sft"), self.plan.asked, self.config.eval
        rows = sorted(asked.weighed, reverse=True)[:DECODED]
        most = sorted((weighed for _, weighed in asked.weighed), reverse=True)[:DECODED]
        width = max((tokens for tokens, _ in rows), default=0)
        passes = [body.forward(Work.whole(len(rows), width, sum(most)))]
        for call in asked.calls:
            if call.name != FEW_SHOT or section.few_shot:
                together = min(DECODED, len(call.prompts))
                prompt = max(call.prompts)
                passes.append(body.decoding(together, prompt, section.max_tokens, call.shared))
        return self._need("evaluation", max(passes), 1)

    def stage(self, kind: StageKind, *, checkpointing: bool = False) -> Need:
        """The heaviest batch of all stages of a kind, DPO's reference among them."""
        work, body = self.work(kind), self.body(kind)
        passes = body.step(work, checkpointing=checkpointing)
        if kind == "dpo":
            passes = max(passes, body.forward(work))
        found = self._need(kind, passes, OPTIMIZED)
        return replace(found, checkpointing=checkpointing, work=work)

    def work(self, kind: StageKind) -> Work:
        """The longest rows, or pairs, of any topic together."""
        lessons = self.plan.lessons
        if kind == "sft":
            size = self.config.sft.batch_size
            rows = [shortened(one.rows, self.limit) for one in lessons if one.rows]
            return max((heaviest_rows(own, size) for own in rows), key=_tokens)
        size = self.config.dpo.batch_size
        pairs = [shortened_pairs(pairs_of(one, self.config), self.limit) for one in lessons]
        return max((heaviest_pairs(own, size) for own in pairs if own), key=_tokens)

    def _need(self, part: str, passes: int, times: int) -> Need:
        """`times`: how often the adapter that trains is there, with all that belongs to it."""
        own = self.training("dpo" if part == "dpo" else "sft")
        beside = sum(one.bytes for one in self.frozen(part, self.last))
        held = self.plan.footprint.past if self.plan.footprint is not None else 0
        return Need(
            part=part,
            framework=framework(self.place.backend) if self.place.in_main_memory else 0,
            weights=self.packed.weights(self.shape.parameters, self.place.dtype),
            adapters=times * own.bytes + beside + held,
            passes=passes + self.packed.unpacked(self.place.dtype),
        )

    def body(self, kind: StageKind) -> Body:
        """The model with all that acts as the last topic trains."""
        place, acting = self.place, self.acting(kind, self.last)
        return Body(self.shape, acting, place.backend, place.dtype, place.in_main_memory)

    def training(self, kind: StageKind) -> Factors:
        """The adapter that trains in a kind of stage."""
        own = kind == "dpo" and self.config.dpo.adapter == "new"
        return factors(self.sizes, spec_of(self.config, "dpo" if own else "sft"))

    def frozen(self, part: str, earlier: int) -> tuple[Factors, ...]:
        """Adapters that act beside the one that trains when `earlier` topics are over, those of
        another run left out; the topic's own among them where DPO trains another over it."""
        own, two = self.training("sft"), self.config.dpo.adapter == "new" and "dpo" in self.kinds
        over = (own,) if part == "dpo" and two else ()
        if self.handoff != "stack":
            return over
        each = (own, self.training("dpo")) if two else (own,)
        return (*over, *each * earlier)

    @property
    def handoff(self) -> Handoff:
        """How earlier topics are carried here."""
        quantization = "packed" if self.packed.numbers else PLAIN
        past = ("lslora",) * self._branches
        return handoff_of(self.config, self.place.dtype, quantization, past)

    def acting(self, kind: StageKind, earlier: int) -> tuple[Factors, ...]:
        """All that acts in a stage, the adapter that trains first; of another run's adapters the
        LS-LoRA, which are branches of their own, as if they were shaped as this run's."""
        own = self.training("sft")
        theirs = replace(own, kind="lslora", norms=0)
        return (self.training(kind), *self.frozen(kind, earlier), *(theirs,) * self._branches)

    @property
    def _branches(self) -> int:
        """Of another run's past."""
        known = self.plan.footprint
        return 0 if known is None else known.beside(self.config.handoff)

    @property
    def last(self) -> int:
        """Topics that are over when the last one trains."""
        return max(0, len(self.plan.lessons) - 1)


def _tokens(work: Work) -> int:
    return work.tokens

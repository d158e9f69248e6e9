"""What one topic changed in the one adapter of several, as an adapter of its own.

Of LoRA it is the difference of two products. Of DoRA the adapter's two states make two others of
the weights below them, of the form c W0 + L, and their difference is (c1 - c0) W0 + L1 - L0. Over
what lies below it in the new ledger that is again one DoRA, whose magnitudes are the norms of the
rows that it makes. An LS-LoRA that bends is no sum: see `check_straight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends import peft_files
from backends.chain import Chain, Held, Layer, Rows, Wide, straight
from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from backends.lora import name_a, name_b, name_m, paths_of
from mindprint.errors import ConfigError
from mindprint.export.folded import concatenated, recast, truncated
from mindprint.ledger import Entry
from mindprint.rundir import RunDir

WHERE = "TOPIC"
LEAST = 1e-3
"""Of a row's weight must stay, so that a DoRA's float32 can tell it from what is added."""


@dataclass(frozen=True)
class Way:
    """From the adapter that stays to a later topic's. `below`: what acts below the adapter, frozen;
    `kept`, None where the first topic went, and `dropped`: the adapter as it was before the topic
    that goes and after it; `before`, `after`: as it was before the later topic and after it."""

    below: tuple[Held, ...]
    kept: Held | None
    dropped: Held
    before: Held
    after: Held

    def adapter(self, rows: Rows) -> Held:
        """What the later topic changed, over the adapters that stay and the differences before it;
        in factors of its own. Raises AdapterError where no adapter can be that."""
        pair = [_line(self.after), _line(self.before)]
        if all(spec.kind == "lora" for spec, _ in pair):
            made = recast(concatenated(pair, signs=(1.0, -1.0)))
            return made.spec, made.tensors
        return self._dora(rows)

    def _dora(self, rows: Rows) -> Held:
        states = [self.kept, self.dropped, self.before, self.after]
        known = [*self.below, *(state for state in states if state is not None)]
        factors: dict[str, tuple[Wide, Wide]] = {}
        magnitudes: Params = {}
        for path in paths_of(self.after[1]):
            layer = Layer.of(path, known, rows)
            made, m = _over(layer, *self._ends(layer))
            factors[path] = layer.a, made
            magnitudes[name_m(path)] = m.astype(np.float32)
        rank = max(len(a) for a, _ in factors.values())
        tensors: Params = {}
        for path, (a, b) in factors.items():
            own_a, own_b, _ = truncated(a, b, rank)
            tensors |= {name_a(path): own_a, name_b(path): own_b}
        return AdapterSpec(rank=rank, alpha=float(rank), kind="dora"), tensors | magnitudes

    def _ends(self, layer: Layer) -> tuple[Chain, Chain]:
        """The weights below the difference, and with it: what the adapter made of them before and
        after the later topic, less what the dropped topic changed."""
        kept, dropped, before, after = (
            layer.closed([*self.below, *([] if state is None else [state])])
            for state in (self.kept, self.dropped, self.before, self.after)
        )
        return _sum(before, kept, dropped), _sum(after, kept, dropped)


def check_straight(run: RunDir, entries: Sequence[Entry]) -> None:
    """Raises ConfigError where a spline bends what an adapter of these entries gives: then what one
    topic changed is a branch less another, and the run without it would hold the very adapter of
    the topic that goes."""
    for entry in entries:
        if straight(peft_files.read(run.path / entry.folder)) is None:
            raise ConfigError(
                "one LS-LoRA was trained through all topics, and its splines bend: what one topic "
                "changed cannot be told apart from the adapters before and after it",
                where=f"{WHERE}, {entry.folder}",
                hint="train anew with `--set handoff=stack`: every topic has one of its own then, "
                "which can be dropped",
            )


def _line(held: Held) -> Held:
    found = straight(held)
    if found is None:
        raise ValueError("a spline that bends has no difference")
    return found


def _sum(first: Chain, second: Chain, less: Chain) -> Chain:
    """The weights of two chains together, less those of a third."""
    c = first.scaled + second.scaled - less.scaled
    return Chain(c, first.a, first.b + second.b - less.b)


def _over(layer: Layer, below: Chain, target: Chain) -> tuple[Wide, Wide]:
    """B [out, rank] in the layer's directions and m [out] of the DoRA of factor 1 that makes
    `target` of `below`: g (c W0 + L + B A) with g the quotient of the two c."""
    old, new = below.scaled, target.scaled
    least = np.minimum(np.abs(old), np.abs(new))
    if least.min() < LEAST:
        raise AdapterError(
            f"without the topic, row {int(np.argmin(least))} of the weight of `{layer.path}` plays "
            "no part, and no DoRA of float32 has it so",
            where=WHERE,
        )
    g = new / old
    b = target.b / g[:, None] - below.b
    return b, np.sign(g) * np.sqrt(layer.squares(new, target.b))

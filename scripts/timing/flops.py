"""Floating-point operations that a training step cannot do without, counted from shapes.

A product of [m, k] and [k, n] is 2 m k n. Only real tokens count, padding does not. Normalisation,
softmax, activations and the optimizer are left out: they are few beside the products.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from timing.data import Sample


@dataclass(frozen=True)
class Model:
    """Sizes as a configuration names them; `kv` and `queries`: width of all key and query heads."""

    hidden: int
    inner: int
    layers: int
    queries: int
    kv: int
    vocabulary: int

    @classmethod
    def read(cls, folder: Path | str) -> Self:
        """From `config.json`. Raises KeyError for a model of another form."""
        tree: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text("utf-8"))
        size = tree.get("head_dim") or tree["hidden_size"] // tree["num_attention_heads"]
        return cls(
            hidden=tree["hidden_size"],
            inner=tree["intermediate_size"],
            layers=tree["num_hidden_layers"],
            queries=size * tree["num_attention_heads"],
            kv=size * tree["num_key_value_heads"],
            vocabulary=tree["vocab_size"],
        )

    @property
    def layer(self) -> int:
        """Weights of one block's linear layers."""
        return self.into_attention + self.queries * self.hidden + 3 * self.hidden * self.inner

    @property
    def into_attention(self) -> int:
        """Weights of one block's query, key and value layers."""
        return self.hidden * (self.queries + 2 * self.kv)

    def widths(self, targets: Sequence[str]) -> int:
        """Inputs and outputs of the named linear layers of one block, added up."""
        found = {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.kv),
            "v_proj": (self.hidden, self.kv),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.inner),
            "up_proj": (self.hidden, self.inner),
            "down_proj": (self.inner, self.hidden),
        }
        return sum(sum(found[target]) for target in targets)


@dataclass(frozen=True)
class Tokens:
    """What goes through a model: `fed` real tokens, `seen` pairs of a token and one it attends to
    (itself among them), `headed` positions whose next token is a target."""

    fed: int
    seen: int
    headed: int

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.fed + other.fed, self.seen + other.seen, self.headed + other.headed)


def tokens(samples: Sequence[Sample], *, shared: bool = False) -> Tokens:
    """Of whole rows, or with each prompt once for all its answers (`shared`).

    The last token of a row predicts nothing and is counted all the same.
    """
    found = Tokens(0, 0, 0)
    for sample in samples:
        before, times = len(sample.prompt), 1 if shared else len(sample.answers)
        found += Tokens(times * before, times * before * (before + 1) // 2, 0)
        for answer in sample.answers:
            own = len(answer)
            found += Tokens(own, own * before + own * (own + 1) // 2, own)
    return found


def forward(model: Model, one: Tokens) -> int:
    """Without an adapter: linear layers, scores and mixed values, head on what is trained."""
    body = 2 * model.layers * model.layer * one.fed
    attention = 4 * model.layers * model.queries * one.seen
    return body + attention + 2 * model.hidden * model.vocabulary * one.headed


def step(model: Model, one: Tokens, rank: int, targets: Sequence[str]) -> int:
    """Forward and backward of a step that trains LoRA alone.

    The base is frozen: on the way back its layers need the gradient of their inputs only, and the
    first block's query, key and value layers not even that. Attention has two products on the way
    and four on the way back. LoRA's factors need both gradients.
    """
    adapter = 2 * model.layers * rank * model.widths(targets) * one.fed
    linear = 2 * model.layers * model.layer * one.fed
    spared = 2 * model.into_attention * one.fed
    attention = 4 * model.layers * model.queries * one.seen
    head = 2 * model.hidden * model.vocabulary * one.headed
    return 2 * (linear + head) - spared + 3 * attention + 3 * adapter


def reference(model: Model, one: Tokens, rank: int, targets: Sequence[str]) -> int:
    """A forward pass of the policy as the stage begins, its adapter with it."""
    adapter = 2 * model.layers * rank * model.widths(targets) * one.fed
    return forward(model, one) + adapter

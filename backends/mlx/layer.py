"""A linear layer with its adapters: the frozen past and the one that trains."""

from __future__ import annotations

import hashlib
from typing import Any

from backends.contract import AdapterSpec
from backends.mlx.attached import Pair
from backends.mlx.framework import mx, nn


class Draws:
    """Where dropout's randomness comes from: a seed and a count of batches, nothing else, so that
    a resumed run draws what an uninterrupted one would have. Acts only while `active`."""

    def __init__(self) -> None:
        self.active = False
        self.seed = 0
        self.count = 0

    def key(self, path: str) -> mx.array:
        digest = hashlib.sha256(f"{self.seed} {self.count} {path}".encode()).digest()
        key: mx.array = mx.random.key(int.from_bytes(digest[:8], "little"))
        return key


class LoRALinear(nn.Module):  # type: ignore[misc]
    """y = base(x) + past B (A x) + scale B (A dropout(x)).

    `lora_A` float32 [rank, in] and `lora_B` float32 [out, rank] are the module's only trainable
    parameters and carry the contract's names. The past's factors are kept out of the parameters,
    its scale folded into B. In lower precision the factors are rounded on the way in, so that
    activations are never copied to float32; gradients and masters stay float32.
    """

    def __init__(self, base: nn.Linear, path: str, draws: Draws) -> None:
        super().__init__()
        self.base = base
        self._path = path
        self._draws = draws
        self._past: Pair | None = None
        self._spec: AdapterSpec | None = None
        self._acts = True

    def train_with(self, spec: AdapterSpec, a: mx.array, b: mx.array) -> None:
        self._spec = spec
        self.lora_A, self.lora_B = a, b

    def untrain(self) -> None:
        if self._spec is not None:
            self._spec = None
            del self.lora_A, self.lora_B

    def act(self, past: Pair | None, trainable: bool) -> None:
        """What takes part in the next forward passes."""
        self._past = past
        self._acts = trainable

    @property
    def trains(self) -> bool:
        return self._spec is not None

    @property
    def idle(self) -> bool:
        return self._past is None and not (self._acts and self._spec is not None)

    def __call__(self, x: mx.array) -> mx.array:
        y: mx.array = self.base(x)
        if self._past is not None:
            y = y + low_rank(x, *self._past)
        if self._acts and self._spec is not None:
            b = self._spec.scale * self.lora_B
            y = y + low_rank(self._dropped(x, self._spec), self.lora_A, b)
        return y

    def _dropped(self, x: mx.array, spec: AdapterSpec) -> mx.array:
        if spec.dropout == 0.0 or not self._draws.active:
            return x
        keep = 1.0 - spec.dropout
        mask = mx.random.bernoulli(keep, x.shape, key=self._draws.key(self._path))
        return mx.where(mask, x / keep, mx.zeros_like(x))


def low_rank(x: mx.array, a: mx.array, b: mx.array) -> mx.array:
    """B (A x) in the precision of x [..., in]; a [rank, in], b [out, rank]."""
    return (x @ a.astype(x.dtype).T) @ b.astype(x.dtype).T


def replace(root: Any, path: str, module: nn.Module) -> None:
    """Put `module` at a dotted path below `root`."""
    *parents, leaf = path.split(".")
    for part in parents:
        root = root[int(part)] if isinstance(root, list) else getattr(root, part)
    setattr(root, leaf, module)

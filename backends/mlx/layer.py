"""A linear layer with its adapters: the frozen past and the one that trains."""

from __future__ import annotations

import hashlib
from typing import Any

from backends.contract import AdapterSpec
from backends.mlx.attached import Factors, leaves
from backends.mlx.chain import Chain, low_rank
from backends.mlx.dora import Ground, lifted, stretch
from backends.mlx.framework import mx, nn
from backends.mlx.spline import bent


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
    """P x + b, plus what trains, plus the branches of frozen LS-LoRAs; P is the base layer's weight
    with the frozen past in it. With z = scale B (A dropout(x)), what trains adds

        lora    z
        dora    z + (g - 1) (P dropout(x) + z), g = m / norm of each row of P + scale B A
        lslora  s_out phi(s_in z)

    `lora_A` float32 [rank, in], `lora_B` float32 [out, rank] and the tensors of its kind are the
    module's only trainable parameters and carry the contract's names. The past is kept out of the
    parameters, its scales folded in. In lower precision the factors are rounded on the way in, so
    that activations are never copied to float32; gradients and masters stay float32.
    """

    def __init__(self, base: nn.Module, path: str, draws: Draws) -> None:
        super().__init__()
        self.base = base
        self._path = path
        self._draws = draws
        self._past: Chain | None = None
        self._ground: Ground | None = None
        self._norms: tuple[mx.array, mx.array, mx.array] | None = None
        self._spec: AdapterSpec | None = None
        self._acts = True

    def train_with(self, spec: AdapterSpec, tensors: Factors) -> None:
        """`tensors` by the layer's own names for them."""
        self._spec = spec
        self.take(tensors)

    def take(self, tensors: Factors) -> None:
        """Set what trains, without a copy."""
        for leaf in leaves(self._trained_spec):
            setattr(self, leaf, tensors[leaf])

    def tensors(self) -> Factors:
        """What trains, by the layer's own names."""
        return {leaf: self[leaf] for leaf in leaves(self._trained_spec)}

    def untrain(self) -> None:
        if self._spec is not None:
            for leaf in leaves(self._spec):
                delattr(self, leaf)
            self._spec, self._norms = None, None

    def act(self, past: Chain | None, ground: Ground | None, trainable: bool) -> None:
        """What takes part in the next forward passes. `ground`: of a DoRA that trains."""
        self._past, self._ground = past, ground
        self._acts = trainable
        self._norms = None
        self.settle()

    def settle(self) -> None:
        """What trains has come to rest: DoRA's norms need no working out at each forward. MLX
        computes them when one asks for them, and not before."""
        if self._ground is None or self._spec is None:
            return
        a, b = self.lora_A, self.lora_B
        if self._norms is None or self._norms[0] is not a or self._norms[1] is not b:
            self._norms = (a, b, self._ground.norms_with(a, self._spec.scale * b))

    @property
    def trains(self) -> bool:
        return self._spec is not None

    @property
    def idle(self) -> bool:
        return self._past is None and not (self._acts and self._spec is not None)

    def __call__(self, x: mx.array) -> mx.array:
        y = self._below(x)
        if self._acts and self._spec is not None:
            y = y + self._trained(x, y, self._spec)
        for branch in () if self._past is None else self._past.branches:
            y = y + branch(x)
        return y

    def _below(self, x: mx.array) -> mx.array:
        """P x + b."""
        y: mx.array = self.base(x)
        past = self._past
        if past is None:
            return y
        if past.c is not None:
            y = y + lifted(self._unbiased(y), past.c - 1.0)
        if past.a is not None and past.b is not None:
            y = y + low_rank(x, past.a, past.b)
        return y

    def _unbiased(self, y: mx.array) -> mx.array:
        return y - self.base.bias if "bias" in self.base else y

    def _trained(self, x: mx.array, below: mx.array, spec: AdapterSpec) -> mx.array:
        """What trains adds to `below`, which is P x + b."""
        dropped = self._dropped(x, spec)
        z = low_rank(dropped, self.lora_A, spec.scale * self.lora_B)
        if spec.kind == "dora":
            under = below if dropped is x else self._below(dropped)
            return z + lifted(self._unbiased(under) + z, self._gain(spec) - 1.0)
        if spec.spline is not None:
            return bent(z, self.lora_spline_values, self.lora_spline_scales, spec.spline)
        return z

    def _gain(self, spec: AdapterSpec) -> mx.array:
        """DoRA's g, float32 [out]."""
        a, b = self.lora_A, self.lora_B
        if self._norms is not None and self._norms[0] is a and self._norms[1] is b:
            norms = self._norms[2]
        elif self._ground is not None:  # other arrays than came to rest: a gradient's
            norms = self._ground.norms_with(a, spec.scale * b)
        else:
            raise ValueError("a DoRA acts over no ground")
        return stretch(self.lora_magnitude_vector, norms)

    def _dropped(self, x: mx.array, spec: AdapterSpec) -> mx.array:
        if spec.dropout == 0.0 or not self._draws.active:
            return x
        keep = 1.0 - spec.dropout
        mask = mx.random.bernoulli(keep, x.shape, key=self._draws.key(self._path))
        return mx.where(mask, x / keep, mx.zeros_like(x))

    @property
    def _trained_spec(self) -> AdapterSpec:
        if self._spec is None:
            raise ValueError(f"nothing trains on `{self._path}`")
        return self._spec


def replace(root: Any, path: str, module: nn.Module) -> None:
    """Put `module` at a dotted path below `root`."""
    *parents, leaf = path.split(".")
    for part in parents:
        root = root[int(part)] if isinstance(root, list) else getattr(root, part)
    setattr(root, leaf, module)

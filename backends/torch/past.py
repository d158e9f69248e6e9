"""The frozen past: factors that act inside the base layer, below anything that PEFT switches."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from backends import lora
from backends.torch.frozen import Frozen
from backends.torch.products import adapted


class PastLinear(nn.Linear):  # type: ignore[misc]  # a Linear, so that PEFT adapts it as one
    """A linear layer plus its frozen adapters: W x + b + B (A x).

    The weight and bias are the base layer's own parameters. The factors are plain tensors, not
    parameters or buffers: the model's names stay the base's, and nothing can train them. Each has
    A float32 [rank, in] and B float32 [out, rank] with the scale folded in; those that act are
    concatenated, which is exact.
    """

    def __init__(self, base: nn.Linear) -> None:
        nn.Module.__init__(self)  # Linear's own would allocate a second weight
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.training = base.training
        self.entries: dict[str, tuple[Any, Any]] = {}
        self.acting: tuple[Any, Any] | None = None

    def add(self, name: str, a: Any, b: Any) -> None:
        self.entries[name] = (a, b)

    def select(self, names: Collection[str]) -> None:
        """Let only `names` act, in the order they were added."""
        chosen = [pair for name, pair in self.entries.items() if name in names]
        if not chosen:
            self.acting = None
        elif len(chosen) == 1:
            self.acting = chosen[0]
        else:
            downs, ups = zip(*chosen, strict=True)
            self.acting = (torch.cat(downs, dim=0), torch.cat(ups, dim=1))

    def forward(self, x: Any) -> Any:
        return adapted(x, self.weight, self.bias, self.acting)


class Past:
    """The frozen adapters of a model, oldest first, laid into its linear layers."""

    def __init__(self, model: nn.Module, linears: Mapping[str, nn.Module], device: Any) -> None:
        self._model, self._linears, self._device = model, linears, device
        self.adapters: tuple[Frozen, ...] = ()

    def names(self) -> tuple[str, ...]:
        return tuple(adapter.name for adapter in self.adapters)

    def hold(self, adapters: Sequence[Frozen]) -> None:
        """Hold exactly `adapters`, or what was held before where there is no room for them. A
        layer on which none is left is the original layer again."""
        made = {path: self._layer(path, adapters) for path in self._linears}
        self.adapters = tuple(adapters)
        for path, layer in made.items():
            self._place(path, layer)

    def _layer(self, path: str, adapters: Sequence[Frozen]) -> nn.Module:
        here = [a for a in adapters if lora.name_a(path) in a.params]
        if not here:
            return self._linears[path]
        layer = PastLinear(self._linears[path])
        for adapter in here:
            a, b = adapter.factors(path)
            layer.add(adapter.name, a.to(self._device), b.to(self._device))
        layer.select(layer.entries)
        return layer

    @contextlib.contextmanager
    def only(self, names: Collection[str]) -> Iterator[None]:
        """Inside, only `names` of the past act."""
        layers = [module for module in self._model.modules() if isinstance(module, PastLinear)]
        before = [layer.acting for layer in layers]
        for layer in layers:
            layer.select(names)
        try:
            yield
        finally:
            for layer, pair in zip(layers, before, strict=True):
                layer.acting = pair

    def _place(self, path: str, layer: nn.Module) -> None:
        """Put `layer` at `path`, below the trainable adapter where one sits there."""
        parent, _, leaf = path.rpartition(".")
        above = self._model.get_submodule(path)
        if isinstance(above, BaseTunerLayer):
            above.base_layer = layer
        else:
            setattr(self._model.get_submodule(parent), leaf, layer)

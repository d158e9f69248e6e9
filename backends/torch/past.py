"""The frozen past: adapters that act inside the base layer, below anything that PEFT switches."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from backends import lora
from backends.torch.base_weight import share
from backends.torch.chain import EMPTY, Chain, Entry, across, chained, norms
from backends.torch.frozen import Frozen
from backends.torch.magnified import magnified
from backends.torch.products import Pair, adapted, low_rank


class PastLinear(nn.Linear):  # type: ignore[misc]  # a Linear, so that PEFT adapts it as one
    """A linear layer plus its frozen adapters, closed into one chain.

    The weight and bias are the base layer's own parameters. What the adapters are is in plain
    tensors, not parameters or buffers: the model's names stay the base's, and nothing can train
    them.
    """

    def __init__(self, base: nn.Linear) -> None:
        nn.Module.__init__(self)  # Linear's own would allocate a second weight
        self.in_features, self.out_features = base.in_features, base.out_features
        self.bias = None
        share(self, base)
        self.training = base.training
        self._base = (base,)  # in a tuple, out of the model's modules and names
        self.entries: dict[str, Entry] = {}
        self.chain = EMPTY

    @property
    def original(self) -> nn.Linear:
        """The layer whose place this one takes."""
        return self._base[0]

    def add(self, name: str, entry: Entry) -> None:
        self.entries[name] = entry

    def select(self, names: Collection[str]) -> None:
        """Let only `names` act, in the order they were added."""
        chosen = [entry for name, entry in self.entries.items() if name in names]
        self.chain = chained(chosen, self.original)

    def forward(self, x: Any, *, branches: bool = True) -> Any:
        """`branches`: whether those of frozen LS-LoRAs are added too."""
        c, pair = self.chain.c, self.chain.pair
        if c is None and x.dtype == self.weight.dtype:
            y = adapted(x, self.weight, self.bias, pair)
        else:
            y = self.original(x)
            if c is not None:
                y = magnified(y, c, self.bias)
            if pair is not None:
                y = y + across(x, pair)
        return self.chain.beside(y, x) if branches else y


def chain_of(layer: nn.Module) -> Chain:
    """What acts in a layer below the adapter in training."""
    return layer.chain if isinstance(layer, PastLinear) else EMPTY


def original_of(layer: nn.Module) -> nn.Module:
    """The layer that W0 is the weight of."""
    return layer.original if isinstance(layer, PastLinear) else layer


def straight(layer: Any, x: Any, trained: Pair | None = None, scale: float = 1.0) -> Any:
    """P x + bias, all of a layer but its branches, plus scale B (A x) of the `trained` factors."""
    past = chain_of(layer)
    # Hooks that widen a layer's weight while it computes act on a call of the layer alone.
    if past.c is None and x.dtype == layer.weight.dtype:
        return adapted(x, layer.weight, layer.bias, past.pair, trained, scale)
    y = layer(x, branches=False) if isinstance(layer, PastLinear) else layer(x)
    return y if trained is None else y + low_rank(x, *trained, scale)


class Past:
    """The frozen adapters of a model, oldest first, laid into its linear layers."""

    def __init__(self, model: nn.Module, linears: Mapping[str, nn.Module], device: Any) -> None:
        self._model, self._linears, self._device = model, linears, device
        self.adapters: tuple[Frozen, ...] = ()

    def names(self) -> tuple[str, ...]:
        return tuple(adapter.name for adapter in self.adapters)

    def norms(self, path: str) -> Any:
        """Float32 [out]: the norm of each row of the weight with the past that acts in it. Asked
        for where no adapter is in training."""
        layer = self._model.get_submodule(path)
        return norms(chain_of(layer).squares(original_of(layer)))

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
            layer.add(adapter.name, adapter.entry(path).to(self._device))
        layer.select(layer.entries)
        return layer

    @contextlib.contextmanager
    def only(self, names: Collection[str]) -> Iterator[None]:
        """Inside, only `names` of the past act."""
        layers = [module for module in self._model.modules() if isinstance(module, PastLinear)]
        before = [layer.chain for layer in layers]
        try:
            for layer in layers:
                layer.select(names)
            yield
        finally:
            for layer, chain in zip(layers, before, strict=True):
                layer.chain = chain

    def _place(self, path: str, layer: nn.Module) -> None:
        """Put `layer` at `path`, below the trainable adapter where one sits there."""
        parent, _, leaf = path.rpartition(".")
        above = self._model.get_submodule(path)
        if isinstance(above, BaseTunerLayer):
            above.base_layer = layer
        else:
            setattr(self._model.get_submodule(parent), leaf, layer)

"""AdamW as torch.optim.AdamW computes it, over named parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from backends.contract import Arrays, OptimizerSpec
from backends.errors import AdapterError
from backends.torch.trainable import array


class AdamW:
    """Loshchilov & Hutter 2019, with Kingma & Ba's bias correction.

    torch.optim.AdamW is not used: it keeps its state by parameter, here it is by the contract's
    names; and a step is the same few kernels over all tensors together on every device.
    """

    def __init__(
        self,
        spec: OptimizerSpec,
        parameters: dict[str, Any],
        rates: Mapping[str, tuple[float, bool]] | None = None,
    ) -> None:
        """`rates`: by name what multiplies the learning rate, and whether weight decay acts;
        without it 1 and yes."""
        self._spec = spec
        self._parameters = parameters
        self._rates = dict.fromkeys(parameters, (1.0, True)) if rates is None else dict(rates)
        self._steps = 0
        self._m = {name: torch.zeros_like(held) for name, held in parameters.items()}
        self._v = {name: torch.zeros_like(held) for name, held in parameters.items()}

    def room(self) -> dict[str, Any]:
        """All that a step takes beside what is there: asked for before anything is changed."""
        return {name: torch.empty_like(held) for name, held in self._parameters.items()}

    def step(self, gradients: dict[str, Any], learning_rate: float, room: dict[str, Any]) -> None:
        """Move the parameters that have a gradient."""
        self._steps += 1
        for rate in dict.fromkeys(self._rates[name] for name in gradients):
            names = [name for name in gradients if self._rates[name] == rate]
            self._move(names, gradients, room, learning_rate * rate[0], rate[1])

    def _move(
        self,
        names: list[str],
        gradients: dict[str, Any],
        room: dict[str, Any],
        learning_rate: float,
        decays: bool,
    ) -> None:
        slopes, scale = [gradients[name] for name in names], [room[name] for name in names]
        held = [self._parameters[name].detach() for name in names]
        m, v = [self._m[name] for name in names], [self._v[name] for name in names]
        first, second = self._spec.betas
        if decays:
            torch._foreach_mul_(held, 1.0 - learning_rate * self._spec.weight_decay)
        torch._foreach_lerp_(m, slopes, 1.0 - first)
        torch._foreach_mul_(v, second)
        torch._foreach_addcmul_(v, slopes, slopes, 1.0 - second)
        torch._foreach_copy_(scale, v)
        torch._foreach_sqrt_(scale)
        torch._foreach_div_(scale, (1.0 - second**self._steps) ** 0.5)
        torch._foreach_add_(scale, self._spec.eps)
        torch._foreach_addcdiv_(held, m, scale, -learning_rate / (1.0 - first**self._steps))

    def state(self) -> Arrays:
        found: Arrays = {"step": np.array(self._steps, dtype=np.int64)}
        for key, moments in (("m", self._m), ("v", self._v)):
            found.update({f"{key}.{name}": array(held) for name, held in moments.items()})
        return found

    def load_state(self, state: Arrays) -> None:
        """Raises AdapterError for the state of other parameters."""
        expected = {"step", *(f"{key}.{name}" for name in self._parameters for key in "mv")}
        if state.keys() != expected:
            odd = ", ".join(sorted(state.keys() ^ expected)[:5])
            raise AdapterError(f"the optimizer state is of another adapter: {odd}")
        self._m, self._v = (
            {name: _like(state[f"{key}.{name}"], held) for name, held in self._parameters.items()}
            for key in "mv"
        )
        self._steps = int(state["step"].item())


def _like(value: np.ndarray[Any, Any], parameter: Any) -> Any:
    copied = torch.from_numpy(np.array(value, dtype=np.float32))
    return copied.to(parameter.device).reshape(parameter.shape).contiguous()

"""AdamW as torch.optim.AdamW computes it, over named float32 arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backends.contract import Arrays, OptimizerSpec
from backends.errors import AdapterError
from backends.mlx.framework import mx

Named = dict[str, mx.array]


class AdamW:
    """Loshchilov & Hutter 2019, with Kingma & Ba's bias correction.

    mlx.optimizers.AdamW is not used: it leaves the correction out unless asked, and keeps its
    state by position in a tree; here state is by the contract's names. `rates`: by name, what
    multiplies the learning rate and whether weight decay acts (`backends.lora.rates`).
    """

    def __init__(
        self, spec: OptimizerSpec, parameters: Named, rates: Mapping[str, tuple[float, bool]]
    ) -> None:
        self._spec = spec
        self._rates = dict(rates)
        self._steps = 0
        self._m: Named = {name: mx.zeros_like(array) for name, array in parameters.items()}
        self._v: Named = {name: mx.zeros_like(array) for name, array in parameters.items()}
        mx.eval(self._m, self._v)

    def step(self, parameters: Named, gradients: Named, learning_rate: float) -> Named:
        """The parameters after one step, evaluated."""
        first, second = self._spec.betas
        steps = self._steps + 1
        root = (1.0 - second**steps) ** 0.5
        stepped: Named = {}
        m, v = dict(self._m), dict(self._v)
        for name, gradient in gradients.items():
            m[name] = m[name] + (1.0 - first) * (gradient - m[name])
            v[name] = second * v[name] + (1.0 - second) * mx.square(gradient)
            multiplier, decays = self._rates[name]
            own = learning_rate * multiplier
            rate = own / (1.0 - first**steps)
            decay = 1.0 - own * self._spec.weight_decay if decays else 1.0
            scale = mx.sqrt(v[name]) / root + self._spec.eps
            stepped[name] = parameters[name] * decay - rate * m[name] / scale
        mx.eval(stepped, m, v)  # may find no room: nothing is kept before
        self._steps, self._m, self._v = steps, m, v
        return stepped

    def state(self) -> Arrays:
        found: Arrays = {"step": np.array(self._steps, dtype=np.int64)}
        for key, moments in (("m", self._m), ("v", self._v)):
            found.update({f"{key}.{name}": np.array(array) for name, array in moments.items()})
        return found

    def load_state(self, state: Arrays) -> None:
        expected = {"step", *(f"{key}.{name}" for name in self._m for key in "mv")}
        if state.keys() != expected:
            odd = ", ".join(sorted(state.keys() ^ expected)[:5])
            raise AdapterError(f"the optimizer state is of another adapter: {odd}")
        m, v = (
            {name: mx.array(state[f"{key}.{name}"].astype(np.float32)) for name in self._m}
            for key in "mv"
        )
        mx.eval(m, v)
        self._steps, self._m, self._v = int(state["step"].item()), m, v


def global_norm(gradients: Named) -> mx.array:
    """The 2-norm over all tensors together."""
    return mx.sqrt(mx.stack([mx.square(array).sum() for array in gradients.values()]).sum())


def clipped(gradients: Named, norm: float, largest: float) -> Named:
    """Scaled to a norm of at most `largest`, as torch.nn.utils.clip_grad_norm_ does."""
    factor = min(1.0, largest / (norm + 1e-6))
    return {name: array * factor for name, array in gradients.items()}

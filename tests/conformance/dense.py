"""Adapters of every kind over transformers' own forward in float64, each layer written out densely:
its weight as a matrix with everything in it, PEFT's formula for DoRA, and `backends.spline`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends import lora, spline
from backends.contract import AdapterSpec, Batch, Objective, Params, Window
from tests.conformance.oracle import loss_of

Wide = dict[str, NDArray[np.float64]]
Acting = Sequence[tuple[AdapterSpec, Wide | Params]]
"""Adapters in the order in which they were attached."""


class Dense:
    """A model's files, read in float64. Nothing here is differentiated: gradients are held against
    differences of `loss`."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
        self._acting: Acting = ()
        self._norms: dict[tuple[int, str], Any] | None = None
        self._within = [0, 0]
        self.paths: list[str] = []
        for path, module in self._model.named_modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.register_forward_hook(_norm_in_float64)
            elif isinstance(module, torch.nn.Linear) and path != "lm_head":
                self.paths.append(path)
                module.register_forward_hook(partial(self._layer, path))

    def logits(self, batch: Batch, acting: Acting = ()) -> NDArray[Any]:
        """[rows, width, vocabulary]."""
        return np.asarray(self._run(batch, acting).numpy())

    def sums(self, batch: Batch, acting: Acting) -> Any:
        """Each row's summed log-probability of its masked tokens, a float64 tensor [rows]."""
        import torch

        logp = torch.log_softmax(self._run(batch, acting)[:, :-1], dim=-1)
        of_next = logp.gather(2, torch.from_numpy(batch.ids[:, 1:]).long()[..., None])[..., 0]
        return (of_next * torch.from_numpy(batch.mask[:, 1:])).sum(dim=1)

    def loss(self, objective: Objective, batch: Batch, window: Window, acting: Acting) -> float:
        """The objective and the penalty of the last adapter's splines, `batch` being the window."""
        sums = list(self.sums(batch, acting))
        return float(loss_of(objective, sums, batch, window)) + penalty(*acting[-1])

    def slope(
        self,
        objective: Objective,
        batch: Batch,
        acting: Acting,
        name: str,
        along: NDArray[np.float64],
        window: Window,
    ) -> float:
        """The loss's derivative where the last adapter's tensor `name` moves along `along`, by
        central differences. The norms of DoRA stand still, as they do to the gradient."""
        *below, (spec, params) = acting
        held: Wide = {key: array.astype(np.float64) for key, array in params.items()}
        # So small that no input passes a knot, where the slope jumps; float64 rounds by 1e-9 of it.
        step = 1e-7
        with self._norms_held(batch, acting):
            ends = [
                self.loss(
                    objective, batch, window, [*below, (spec, {**held, name: held[name] + way})]
                )
                for way in (step * along, -step * along)
            ]
        return (ends[0] - ends[1]) / (2 * step)

    @property
    def outside(self) -> float:
        """The share of the splines' inputs that lay outside their grids, padding's among them."""
        return 1.0 - self._within[0] / max(1, self._within[1])

    def weight(self, path: str, acting: Acting = ()) -> NDArray[np.float64]:
        """A layer's weight with all but its branches in it, [out, in]."""
        self._acting = acting
        return np.asarray(self._whole(path, self._model.get_submodule(path))[0].numpy())

    def _run(self, batch: Batch, acting: Acting) -> Any:
        import torch

        self._acting, self._within = acting, [0, 0]
        with torch.no_grad():
            return self._model(input_ids=torch.from_numpy(batch.ids).long()).logits

    def _layer(self, path: str, module: Any, given: tuple[Any, ...], output: Any) -> Any:
        import torch

        weight, branches = self._whole(path, module)
        found = torch.nn.functional.linear(given[0], weight, module.bias)
        for spec, delta, values, (before, after) in branches:
            u = before * (given[0] @ delta.T).numpy()
            inside = int(((u >= spec.low) & (u <= spec.high)).sum())
            self._within = [self._within[0] + inside, self._within[1] + u.size]
            found = found + torch.from_numpy(after * spline.phi(u, values, spec))
        return found

    def _whole(self, path: str, module: Any) -> tuple[Any, list[Any]]:
        """The weight after every adapter of the chain, and what each spline beside it takes."""
        import torch

        weight, branches = module.weight.detach(), []
        for place, (spec, params) in enumerate(self._acting):
            if lora.name_a(path) not in params:
                continue
            held = {name: np.asarray(params[name], np.float64) for name in _names(spec, path)}
            a, b = (torch.from_numpy(held[name(path)]) for name in (lora.name_a, lora.name_b))
            delta = spec.scale * b @ a
            if spec.spline is not None:
                own = held[lora.name_v(path)], held[lora.name_s(path)]
                branches.append((spec.spline, delta, *own))
                continue
            weight = weight + delta
            if spec.kind == "dora":
                magnitude = torch.from_numpy(held[lora.name_m(path)])
                weight = (magnitude / self._norm(place, path, weight))[:, None] * weight
        return weight, branches

    def _norm(self, place: int, path: str, weight: Any) -> Any:
        norm = weight.norm(dim=1)
        return norm if self._norms is None else self._norms.setdefault((place, path), norm)

    @contextmanager
    def _norms_held(self, batch: Batch, acting: Acting) -> Iterator[None]:
        """Inside, the norms of rows are those that `acting` has now."""
        self._norms = {}
        try:
            self._run(batch, acting)
            yield
        finally:
            self._norms = None


def penalty(spec: AdapterSpec, params: Wide | Params) -> float:
    """What keeps splines near the identity, over all layers and knots."""
    if spec.spline is None:
        return 0.0
    values = [params[lora.name_v(path)] for path in lora.paths_of(params)]
    moved = np.asarray(values, np.float64) - spline.knots(spec.spline)
    return spec.spline.penalty * float(np.square(moved).mean())


def _names(spec: AdapterSpec, path: str) -> Iterator[str]:
    yield from lora.shapes(spec, path, 0, 0)


def _norm_in_float64(module: Any, given: tuple[Any, ...], output: Any) -> Any:
    """transformers' own goes by float32, whose rounding would drown the differences."""
    import torch

    x = given[0]
    spread = torch.rsqrt(x.square().mean(-1, keepdim=True) + module.variance_epsilon)
    return module.weight * (x * spread)

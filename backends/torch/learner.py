"""An objective and AdamW over the trainable adapter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from backends import lora
from backends.contract import Arrays, Batch, Objective, OptimizerSpec, Params, StepStats, Window
from backends.errors import AdapterError
from backends.lifetime import while_open
from backends.shares import share_of
from backends.torch.adamw import AdamW
from backends.torch.adapters import TorchAdapters
from backends.torch.losses import batch_loss
from backends.torch.memory import out_of_memory, room_for
from backends.torch.model import Opened
from backends.torch.noise import Noise
from backends.torch.penalty import penalty
from backends.torch.trainable import array


class TorchLearner:
    """The contract's Learner. It steps the parameters that were attached when it was made."""

    def __init__(
        self,
        opened: Opened,
        adapters: TorchAdapters,
        objective: Objective,
        optimizer: OptimizerSpec,
        *,
        checkpointing: bool = False,
    ) -> None:
        self._checkpointing = checkpointing
        self._opened, self._adapters, self._objective = opened, adapters, objective
        self._parameters = adapters.tensors()
        training = adapters.training
        if training is None:
            raise AdapterError("no adapter is in training", hint="add or load one first")
        self._spec = training.spec
        for name, parameter in self._parameters.items():
            if not parameter.is_contiguous():
                # Adam's in-place kernels have skipped strided outputs silently on MPS.
                raise AdapterError(f"`{name}` does not lie contiguously in memory")
        drops = training.spec.dropout > 0 and objective.kind == "sft"
        self._noise = Noise(optimizer.seed, opened.device) if drops else None
        self._window_began = self._drawn()
        with room_for("the optimizer's moments", opened.device, where="adapter.rank"):
            rates = lora.rates(training.spec, self._parameters)
            self._optimizer = AdamW(optimizer, self._parameters, rates)

    @while_open
    def accumulate(self, batch: Batch, window: Window) -> StepStats:
        stats, gradients = self._differentiate(batch, window)
        self._add(gradients)
        return stats

    @while_open
    def apply(self, learning_rate: float, max_grad_norm: float | None) -> float:
        parameters = self._current()
        gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
        if not gradients:
            raise AdapterError("nothing was accumulated since the last step")
        norm = torch.nn.utils.get_total_norm(gradients.values())
        value = float(norm.item())
        if np.isfinite(value):
            with room_for("an optimizer step", self._opened.device, where="adapter.rank"):
                room = self._optimizer.room()
                if max_grad_norm is not None:
                    torch.nn.utils.clip_grads_with_norm_(parameters.values(), max_grad_norm, norm)
                self._optimizer.step(gradients, learning_rate, room)
        self._clear()
        self._window_began = self._drawn()
        return value

    @while_open
    def discard(self) -> None:
        self._clear()
        if self._noise is not None and self._window_began is not None:
            self._noise.set_state(self._window_began)

    @while_open
    def gradients(
        self, batch: Batch, window: Window, at: Params | None = None
    ) -> tuple[float, Params]:
        with self._placed_at(at), self._noise_kept():
            stats, gradients = self._differentiate(batch, window)
        named = zip(self._parameters, gradients, strict=True)
        return stats.loss + stats.penalty, {name: array(gradient) for name, gradient in named}

    @while_open
    def add_gradients(self, gradients: Params) -> None:
        self._same_names(gradients)
        self._add(
            [
                torch.from_numpy(np.array(gradients[name], dtype=np.float32)).to(parameter.device)
                for name, parameter in self._current().items()
            ]
        )

    @while_open
    def assign(self, params: Params) -> None:
        self._same_names(params)
        for name, parameter in self._current().items():
            value = torch.from_numpy(np.array(params[name], dtype=np.float32))
            if value.shape != parameter.shape:
                shapes = f"{tuple(value.shape)}, not {tuple(parameter.shape)}"
                raise AdapterError(f"`{name}` is given as {shapes}")
            with torch.no_grad():
                parameter.copy_(value)

    @while_open
    def state(self) -> Arrays:
        self._current()
        drawn = {} if self._noise is None else {"rng": self._noise.state()}
        return {**self._optimizer.state(), **drawn}

    @while_open
    def load_state(self, state: Arrays) -> None:
        self._current()
        moments = dict(state)
        drawn = None if self._noise is None else moments.pop("rng", None)
        if self._noise is not None and drawn is None:
            raise AdapterError("the optimizer state holds no `rng`: it is of another backend")
        self._optimizer.load_state(moments)
        if self._noise is not None and drawn is not None:
            self._noise.set_state(drawn)
            self._window_began = self._drawn()

    def _enter(self) -> None:
        self._opened.check_open()

    def _differentiate(self, batch: Batch, window: Window) -> tuple[StepStats, Any]:
        """Figures, and gradients of loss and penalty, touching no `.grad`, so that running out of
        memory half way through leaves what was accumulated intact."""
        parameters = self._current()
        share = share_of(self._objective, batch, window)
        self._opened.bounds.check_batch(batch)
        noise = contextlib.nullcontext() if self._noise is None else self._noise.active()
        with out_of_memory(batch.ids.shape, self._opened.device), torch.enable_grad():
            # The way back is inside too: a layer that is computed again drops what it dropped.
            with noise, self._dropout():
                loss = batch_loss(
                    self._opened,
                    self._objective,
                    batch,
                    window,
                    share=self._noise is None,
                    checkpointing=self._checkpointing,
                )
                beside = penalty(self._spec, parameters, share)
                total = loss.value if beside is None else loss.value + beside
                gradients = torch.autograd.grad(total, list(parameters.values()))
            stats = loss.stats()
            return stats if beside is None else replace(stats, penalty=beside.item()), gradients

    def _clear(self) -> None:
        for parameter in self._parameters.values():
            parameter.grad = None

    def _add(self, gradients: Any) -> None:
        for parameter, gradient in zip(self._parameters.values(), gradients, strict=True):
            # What autograd hands out may be a view or be shared; the sum must be our own.
            if parameter.grad is None:
                parameter.grad = gradient.detach().clone(memory_format=torch.contiguous_format)
            else:
                parameter.grad += gradient

    def _current(self) -> dict[str, Any]:
        attached = self._adapters.tensors()
        same = attached.keys() == self._parameters.keys() and all(
            attached[name] is parameter for name, parameter in self._parameters.items()
        )
        if not same:
            raise AdapterError(
                "the adapter this learner was made for is no longer the one in training",
                hint="make a new learner and load its state",
            )
        return self._parameters

    def _same_names(self, given: Params) -> None:
        if given.keys() != self._parameters.keys():
            odd = ", ".join(sorted(given.keys() ^ self._parameters.keys())[:5])
            raise AdapterError(f"the names are not those of the trainable tensors: {odd}")

    @contextlib.contextmanager
    def _dropout(self) -> Iterator[None]:
        training = self._adapters.training
        if training is None or self._noise is None:
            yield
            return
        training.dropout(True)
        try:
            yield
        finally:
            training.dropout(False)

    @contextlib.contextmanager
    def _placed_at(self, params: Params | None) -> Iterator[None]:
        if params is None:
            yield
            return
        before = self._adapters.parameters()
        self.assign(params)
        try:
            yield
        finally:
            self.assign(before)

    def _drawn(self) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """How far the stream of dropout is: a window that is dropped draws its masks again."""
        return None if self._noise is None else self._noise.state()

    @contextlib.contextmanager
    def _noise_kept(self) -> Iterator[None]:
        before = None if self._noise is None else self._noise.state()
        try:
            yield
        finally:
            if self._noise is not None and before is not None:
                self._noise.set_state(before)

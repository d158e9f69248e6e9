"""An objective and AdamW over the trainable adapter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from backends import lora
from backends.contract import Arrays, Batch, Objective, OptimizerSpec, Params, StepStats, Window
from backends.errors import AdapterError
from backends.lifetime import while_open
from backends.mlx.adamw import AdamW, clipped, global_norm
from backends.mlx.adapters import MlxAdapters
from backends.mlx.attached import Factors
from backends.mlx.device import room_for
from backends.mlx.framework import mx, number
from backends.mlx.losses import Rows, batch_loss, identity_penalty, stats
from backends.mlx.model import Decoder
from backends.shares import share_of


class MlxLearner:
    """The contract's Learner. It steps the adapter that was in training when it was made."""

    def __init__(
        self,
        decoder: Decoder,
        adapters: MlxAdapters,
        objective: Objective,
        spec: OptimizerSpec,
        *,
        checkpointing: bool = False,
    ) -> None:
        training = adapters.training
        if training is None:
            raise AdapterError("no adapter is in training", hint="add or load one first")
        self._decoder, self._adapters, self._objective = decoder, adapters, objective
        self._training = training
        self._checkpointing = checkpointing
        self._drops = objective.kind == "sft" and training[1].dropout > 0.0
        with room_for("the optimizer's moments"):
            held = adapters.arrays()
            self._optimizer = AdamW(spec, held, lora.rates(training[1], held))
        self._gradients: Factors | None = None
        self._seed, self._batches = spec.seed, 0
        self._window_began = 0  # batches before the window in hand: dropped, it draws again

    @while_open
    def accumulate(self, batch: Batch, window: Window) -> StepStats:
        found, gradients = self._differentiate(batch, window)
        self._batches += 1
        self._add(gradients)
        return found

    @while_open
    def apply(self, learning_rate: float, max_grad_norm: float | None) -> float:
        gradients = self._gradients
        if gradients is None:
            raise AdapterError("nothing was accumulated since the last step")
        with room_for("an optimizer step"):
            norm = number(global_norm(gradients))
            if np.isfinite(norm):
                if max_grad_norm is not None:
                    gradients = clipped(gradients, norm, max_grad_norm)
                stepped = self._optimizer.step(self._current(), gradients, learning_rate)
                self._adapters.put(stepped)
        self._gradients, self._window_began = None, self._batches
        return norm

    @while_open
    def discard(self) -> None:
        self._gradients, self._batches = None, self._window_began

    @while_open
    def gradients(
        self, batch: Batch, window: Window, at: Params | None = None
    ) -> tuple[float, Params]:
        before = self._current()
        if at is not None:
            self.assign(at)
        try:
            found, gradients = self._differentiate(batch, window)
        finally:
            self._adapters.put(before)
        return found.loss + found.penalty, {
            name: np.array(array) for name, array in gradients.items()
        }

    @while_open
    def add_gradients(self, gradients: Params) -> None:
        self._add(self._taken(gradients))

    @while_open
    def assign(self, params: Params) -> None:
        self._adapters.put(self._taken(params))

    @while_open
    def state(self) -> Arrays:
        return {**self._optimizer.state(), "rng": np.array([self._seed, self._batches])}

    @while_open
    def load_state(self, state: Arrays) -> None:
        if "rng" not in state:
            raise AdapterError("the optimizer state holds no `rng`: it is of another backend")
        self._current()
        self._optimizer.load_state({key: held for key, held in state.items() if key != "rng"})
        # The seed too: an adapter's files do not hold it.
        self._seed, self._batches = (int(value) for value in state["rng"])
        self._window_began = self._batches

    def _enter(self) -> None:
        self._decoder.enter()

    def _differentiate(self, batch: Batch, window: Window) -> tuple[StepStats, Factors]:
        """Figures and gradients, evaluated; what was accumulated before stays as it is."""
        held = self._current()
        self._decoder.bounds.check_batch(batch)
        rows = Rows.of(batch, self._decoder.plan.window, apart=self._drops)

        def loss_at(arrays: Factors) -> tuple[mx.array, ...]:
            self._adapters.put(arrays, traced=True)
            asked = (self._objective, batch, window, rows)
            loss, figures = batch_loss(self._decoder, *asked, checkpointing=self._checkpointing)
            share = share_of(self._objective, batch, window)
            penalty = identity_penalty(arrays, self._training[1], share)
            return loss + penalty, loss, figures, penalty

        with room_for(f"{len(batch.ids)} rows of {batch.ids.shape[1]} tokens"), self._dropout():
            try:
                (_, *told), gradients = mx.value_and_grad(loss_at)(held)
                mx.eval(told, gradients)
            finally:
                self._adapters.put(held)  # the traced arrays must not stay in the layers
        return stats(batch, *told), gradients

    def _add(self, gradients: Factors) -> None:
        if self._gradients is None:
            self._gradients = dict(gradients)
            return
        held = self._gradients
        self._gradients = {name: held[name] + array for name, array in gradients.items()}
        mx.eval(self._gradients)

    def _current(self) -> Factors:
        if self._adapters.training is not self._training:
            raise AdapterError(
                "the adapter this learner was made for is no longer the one in training",
                hint="make a new learner and load its state",
            )
        return self._adapters.arrays()

    def _taken(self, given: Params) -> Factors:
        """Arrays in the layers' own order and shapes, or AdapterError."""
        current = self._current()
        if given.keys() != current.keys():
            odd = ", ".join(sorted(given.keys() ^ current.keys())[:5])
            raise AdapterError(f"the names are not those of the trainable tensors: {odd}")
        for name, array in current.items():
            if given[name].shape != array.shape:
                raise AdapterError(f"`{name}` is given as {given[name].shape}, not {array.shape}")
        taken = {name: mx.array(given[name].astype(np.float32)) for name in current}
        mx.eval(taken)
        return taken

    @contextlib.contextmanager
    def _dropout(self) -> Iterator[None]:
        """Dropout acts, drawing what belongs to this learner's present batch."""
        draws = self._adapters.draws
        draws.active = self._objective.kind == "sft"
        draws.seed, draws.count = self._seed, self._batches
        try:
            yield
        finally:
            draws.active = False

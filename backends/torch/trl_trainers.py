"""TRL's two trainers over our batches: their losses and their loop, our rows, order and rates."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback
from trl import DPOTrainer, SFTTrainer

from backends.engines import Course, Heard, Taken
from backends.torch.memory import out_of_memory
from backends.torch.noise import Noise
from backends.torch.trainable import Trainable
from backends.torch.trl_data import Share, Windows, share_of, window_of


class Over(Exception):
    """A step that is not finite ends the stage before it is taken."""


class _OverOurRows:
    """What both trainers are made to do here. `training` is the adapter, `noise` the stream its
    dropout draws from, None where none acts."""

    def __init__(
        self,
        *,
        course: Course,
        windows: Windows,
        training: Trainable,
        noise: Noise | None,
        **settings: Any,
    ) -> None:
        self._course, self._windows = course, windows
        self._training, self._noise = training, noise
        self._losses: list[float] = []
        self._norm = math.nan
        self._began = 0.0
        super().__init__(**settings)

    def _prepare_dataset(self, dataset: Any, *_args: Any, **_settings: Any) -> Any:
        """Rows are tokens already."""
        return dataset

    def get_train_dataloader(self) -> Any:
        return self._windows

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The course's rate at each step, over a base rate of 1."""
        last = self._course.steps - 1
        self.lr_scheduler = LambdaLR(
            optimizer or self.optimizer,  # type: ignore[attr-defined]  # the trainer's
            lambda step: self._course.rate_of(min(step, last)),
        )
        return self.lr_scheduler

    def get_batch_samples(self, *args: Any) -> Any:
        """Here a window begins."""
        self._began = time.perf_counter()
        samples, items = super().get_batch_samples(*args)  # type: ignore[misc]
        self._begin(samples)
        return samples, items

    def _begin(self, samples: Sequence[dict[str, Any]]) -> None:
        """With the window's batches."""

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **settings: Any) -> Any:
        ids = inputs["input_ids"]
        noise = contextlib.nullcontext() if self._noise is None else self._noise.active()
        with out_of_memory(ids.shape, self.args.device), noise:  # type: ignore[attr-defined]
            loss = super().training_step(model, inputs, *args, **settings)  # type: ignore[misc]
        self._losses.append(float(loss))
        return loss

    def compute_loss(self, *args: Any, **settings: Any) -> Any:
        self._only_our_dropout()
        return super().compute_loss(*args, **settings)  # type: ignore[misc]

    def _only_our_dropout(self) -> None:
        """The trainer puts the whole model in training mode, in which a model's own dropout acts:
        here the adapter's alone does. TRL files its figures by the outermost module's mode."""
        model = self.model  # type: ignore[attr-defined]
        model.eval()
        self._training.dropout(self._noise is not None)
        model.training = True

    def _get_grad_norm(self, *args: Any, **settings: Any) -> Any:
        norm = super()._get_grad_norm(*args, **settings)  # type: ignore[misc]
        self._norm = float(norm)
        return norm

    def taken(self) -> Taken:
        """The window that is through; the next one begins."""
        seconds = time.perf_counter() - self._began
        found = Taken(sum(self._losses), self._norm, seconds, **self._figures())
        self._losses.clear()
        self._metrics["train"].clear()  # type: ignore[attr-defined]
        return found

    def _figures(self) -> dict[str, Any]:
        return {}

    def let_go(self) -> None:
        """Of the model, the adapter's copy and the optimizer's state, now: trainers and what they
        are made of hold each other, and a collector of such circles may take its time."""
        listener: Any
        for listener in self.callback_handler.callbacks:  # type: ignore[attr-defined]
            vars(listener).clear()
        for optimizer in self.accelerator._optimizers:  # type: ignore[attr-defined]
            optimizer.state.clear()
            optimizer.param_groups.clear()
        vars(self.accelerator).clear()  # type: ignore[attr-defined]
        vars(self).clear()


class SftStage(_OverOurRows, SFTTrainer):  # type: ignore[misc]
    """TRL's loss over the window: summed NLL / trained tokens of all its batches."""


class DpoStage(_OverOurRows, DPOTrainer):  # type: ignore[misc]
    """TRL means each of its terms over a batch; here a batch weighs by its share of its window:
    preference terms by pairs, the chosen answers' own loss by their tokens. So batches of any size
    add up to the window's loss, whatever `accumulate` is."""

    loss_is_scaled_for_ga = True

    def _begin(self, samples: Sequence[dict[str, Any]]) -> None:
        self._window = window_of(samples)
        self._shares: list[Share] = []

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **settings: Any) -> Any:
        share = share_of(inputs, self._window)
        self._shares.append(share)
        parts = [share.tokens if name == "sft" else share.pairs for name in self.loss_types]
        weights = self.args.loss_weights
        self.loss_weights = [weight * part for weight, part in zip(weights, parts, strict=True)]
        return super().compute_loss(model, inputs, *args, **settings)

    def _figures(self) -> dict[str, Any]:
        """TRL's own figures of each batch, meant over its pairs."""
        found = self._metrics["train"]
        parts = [share.pairs for share in self._shares]
        margins, wins = found["rewards/margins"], found["rewards/accuracies"]
        won = self._window.pairs * sum(w * part for w, part in zip(wins, parts, strict=True))
        return {
            "margin": sum(m * part for m, part in zip(margins, parts, strict=True)),
            "wins": round(won),
        }


class Listener(TrainerCallback):  # type: ignore[misc]
    """Tells `heard` of every step of `trainer`, which is set once it is made."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self.trainer: Any = None

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Raises Over where the step would spoil the adapter."""
        trainer = self.trainer
        loss, norm = sum(trainer._losses), trainer._norm
        if not (math.isfinite(loss) and math.isfinite(norm)):
            trainer.model.zero_grad()
            trainer.model.eval()
            self._heard(trainer.taken())
            raise Over

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.model.eval()
        if not self._heard(self.trainer.taken()):
            control.should_training_stop = True

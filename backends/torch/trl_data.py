"""A course as TRL's trainers take it: the very batches, windows and epochs, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from backends.bounds import Bounds
from backends.contract import Batch, Window
from backends.engines import Course
from backends.errors import AdapterError


class Windows:
    """In the place of a data loader: an epoch's batches, one after another. `size`: batches in
    every window of an epoch but its last."""

    def __init__(self, course: Course, inputs_of: Callable[[Batch], dict[str, Any]]) -> None:
        self._course, self._inputs_of = course, inputs_of
        self._last = len(course.batches_of(course.steps_per_epoch - 1))
        self.size = len(course.batches_of(0))
        self._epoch = 0

    def __len__(self) -> int:
        return self.size * (self._course.steps_per_epoch - 1) + self._last

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises AdapterError for a window of another size: the trainer would cut it elsewhere."""
        steps = self._course.steps_per_epoch
        for place in range(steps):
            step = self._epoch * steps + place
            batches = self._course.batches_of(step)
            wanted = self._last if place == steps - 1 else self.size
            if len(batches) != wanted:
                found = f"{len(batches)} batches, and {wanted} were counted on"
                raise AdapterError(f"the window of step {step + 1} has {found}")
            yield from map(self._inputs_of, batches)


def sft_inputs(batch: Batch, bounds: Bounds) -> dict[str, Any]:
    """What SFTTrainer computes a loss of: -100 marks what is not trained."""
    rows = _rows(batch, bounds)
    mask = rows.pop("mask")
    return {**rows, "labels": rows["input_ids"].masked_fill(~mask, -100)}


def dpo_inputs(batch: Batch, bounds: Bounds) -> dict[str, Any]:
    """What DPOTrainer computes a loss of: chosen rows, then rejected ones."""
    rows = _rows(batch, bounds)
    return {**rows, "completion_mask": rows.pop("mask").long()}


def _rows(batch: Batch, bounds: Bounds) -> dict[str, Any]:
    """Token ids and masks [rows, width], without the padding beyond the model's positions, which
    would change the frequencies of real tokens. Raises ModelError for rows that do not fit."""
    bounds.check_batch(batch)
    width = batch.ids.shape[1]
    end = width if bounds.positions is None else min(width, bounds.positions)
    lengths = torch.from_numpy(batch.lengths)
    return {
        "input_ids": torch.from_numpy(batch.ids[:, :end]).long(),
        "attention_mask": (torch.arange(end) < lengths[:, None]).long(),
        "mask": torch.from_numpy(batch.mask[:, :end].copy()),
    }


@dataclass(frozen=True)
class Share:
    """A batch's part in its window: its trained tokens (of pairs, those of the chosen) and its
    pairs over the window's."""

    tokens: float
    pairs: float


def window_of(samples: Sequence[dict[str, Any]]) -> Window:
    """The denominators of the batches of pairs in one window."""
    counts = [_counts(sample) for sample in samples]
    return Window(tokens=sum(c.tokens for c in counts), pairs=sum(c.pairs for c in counts))


def share_of(inputs: dict[str, Any], window: Window) -> Share:
    own = _counts(inputs)
    return Share(tokens=own.tokens / window.tokens, pairs=own.pairs / window.pairs)


def _counts(inputs: dict[str, Any]) -> Window:
    pairs = len(inputs["input_ids"]) // 2
    return Window(tokens=int(inputs["completion_mask"][:pairs].sum()), pairs=pairs)

"""The benchmark's samples as rows and batches of mindprint's, and the order they are fed in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.contract import Batch
from mindprint.tokens.batches import BatchPlan, pad, pad_pairs
from mindprint.tokens.rows import Row
from timing.data import Sample
from timing.protocol import Spec

EPOCHS = {"sft": 1, "dpo": 2}
"""Over the data: DPO's reference pass is once for two epochs."""


def rows_of(sample: Sample) -> list[Row]:
    before = (False,) * len(sample.prompt)
    return [
        Row(ids=sample.prompt + answer, mask=before + (True,) * len(answer), cut=False)
        for answer in sample.answers
    ]


def batch_of(
    samples: Sequence[Sample], reference: NDArray[np.float32] | None, places: Sequence[int]
) -> Batch:
    rows = [rows_of(sample) for sample in samples]
    if reference is None:
        return pad([row for (row,) in rows])
    ours = reference[list(places)]
    return pad_pairs(
        [chosen for chosen, _ in rows],
        [rejected for _, rejected in rows],
        np.concatenate([ours[:, 0], ours[:, 1]]),
    )


def order(samples: Sequence[Sample], spec: Spec) -> list[list[int]]:
    """The row numbers of each step. Raises ValueError where the data do not make whole steps."""
    if spec.steps * spec.batch != len(samples) * EPOCHS[spec.kind]:
        raise ValueError(f"{len(samples)} rows do not make {spec.steps} steps of {spec.batch}")
    if spec.options.get("order", "file") == "buckets":
        lengths = tuple(max(map(len, sample.rows)) for sample in samples)
        plan = BatchPlan(lengths, EPOCHS[spec.kind], spec.batch, 1, (0,))
        return [batch for epoch in range(plan.epochs) for (batch,) in plan.epoch(epoch)]
    flat = list(range(len(samples))) * EPOCHS[spec.kind]
    return [flat[start : start + spec.batch] for start in range(0, len(flat), spec.batch)]

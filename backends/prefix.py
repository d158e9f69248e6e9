"""Rows that begin with the same prompt: which they are, so that the prompt runs once for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.contract import Batch

WORTH = 0.9
"""Sharing is taken up when it leaves at most this part of a batch's tokens: below that, what the
denser attention costs is more than what is saved."""


@dataclass(frozen=True)
class Shared:
    """A batch with every distinct prompt once.

    `prompts` int32 [groups, widest prompt] and `answers` int32 [rows, widest answer], both padded
    on the right, with their real lengths in `prompt_lengths` and `answer_lengths`. `owner`
    int64 [rows] is each row's group; rows stand in the batch's order. `mask` bool, as `answers`:
    the tokens whose log-probability counts. An answer begins with its prompt's last token, which
    is not in `prompts`: what predicts a row's first trained token is a state of the row's own.
    """

    prompts: NDArray[np.int32]
    prompt_lengths: NDArray[np.int32]
    answers: NDArray[np.int32]
    answer_lengths: NDArray[np.int32]
    owner: NDArray[np.int64]
    mask: NDArray[np.bool_]

    @property
    def tokens(self) -> int:
        """Token positions that go through the model, padding with them."""
        return int(self.prompts.size + self.answers.size)


def shared(batch: Batch) -> Shared | None:
    """The batch with its prompts shared, or None where no two rows have the same one or too little
    would be saved. Goes by token ids alone, so both backends decide alike."""
    heads = batch.mask.argmax(axis=1) - 1  # where each answer begins, its prompt's last token
    if not heads.min():
        return None
    keys = [batch.ids[row, :head].tobytes() for row, head in enumerate(heads)]
    groups = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    if len(groups) == len(keys):
        return None
    owner = np.array([groups[key] for key in keys], dtype=np.int64)
    first = [keys.index(key) for key in groups]
    prompt_lengths = heads[first].astype(np.int32)
    answer_lengths = (batch.lengths - heads).astype(np.int32)
    prompts = np.zeros((len(groups), prompt_lengths.max()), dtype=np.int32)
    for group, (row, length) in enumerate(zip(first, prompt_lengths, strict=True)):
        prompts[group, :length] = batch.ids[row, :length]
    answers = np.zeros((len(keys), answer_lengths.max()), dtype=np.int32)
    mask = np.zeros(answers.shape, dtype=np.bool_)
    for row, (head, length) in enumerate(zip(heads, answer_lengths, strict=True)):
        answers[row, :length] = batch.ids[row, head : head + length]
        mask[row, :length] = batch.mask[row, head : head + length]
    found = Shared(prompts, prompt_lengths, answers, answer_lengths, owner, mask)
    return found if found.tokens <= WORTH * batch.ids.size else None

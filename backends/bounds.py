"""What may be fed to a model: token ids that it has, and rows that its rotations hold for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.contract import Batch
from backends.errors import ModelError


@dataclass(frozen=True)
class Bounds:
    """`vocabulary`: rows of the embedding. `positions`: the longest row in tokens for which the
    model's rotary frequencies stay what they are, or None where no row changes them."""

    vocabulary: int
    positions: int | None

    def check_batch(self, batch: Batch) -> None:
        """Raises ModelError for an id the model has not (padding's too), or too long a row."""
        self._check_ids(int(batch.ids.min()), int(batch.ids.max()))
        self.check_length(int(batch.lengths.max()))

    def check_prompts(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> None:
        """Raises ValueError for an empty prompt, ModelError as `check_batch`; the answers that
        are asked for count as tokens of the row."""
        if any(len(prompt) == 0 for prompt in prompts):
            raise ValueError("a prompt has no token")
        for prompt in prompts:
            held = np.asarray(prompt)
            self._check_ids(int(held.min()), int(held.max()))
        if prompts:
            self.check_length(max(len(prompt) for prompt in prompts) + max_tokens)

    def check_length(self, longest: int, where: str = "") -> None:
        """Raises ModelError when a row of `longest` tokens would change the frequencies: those of
        the rows beside it too, since a batch has one set, and of the keys a cache holds."""
        if self.positions is not None and longest > self.positions:
            raise ModelError(
                f"this model's rotary frequencies change past {self.positions} tokens, and rows "
                f"of {longest} are asked for",
                where=where,
                hint=f"keep rows, answers included, within {self.positions} tokens",
            )

    def _check_ids(self, least: int, most: int) -> None:
        if least < 0 or most >= self.vocabulary:
            odd = most if most >= self.vocabulary else least
            raise ModelError(
                f"token id {odd} is beyond the model's vocabulary of {self.vocabulary}",
                hint="the tokenizer and the model do not belong together",
            )


def rotary_limit(parameters: Mapping[str, Any], positions: int) -> int | None:
    """`Bounds.positions` from transformers' `rope_parameters`, flat or nested by kind of layer;
    `positions` is max_position_embeddings."""
    nested = [value for value in parameters.values() if isinstance(value, Mapping)]
    limits = []
    for settings in nested or [parameters]:
        kind = settings.get("rope_type", "default")
        if kind == "longrope":
            limits.append(int(settings["original_max_position_embeddings"]))
        elif kind == "dynamic":
            limits.append(positions)
    return min(limits, default=None)

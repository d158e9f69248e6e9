"""What a witness is asked and what it answers: a model opened by plain library code, in a process
of its own (`python -m backends.torch.witness JOB OUT`, and the same of mlx)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backends.errors import reason

NOT_HERE = 69
"""Exit code of a witness whose library does not load."""

Framework = Literal["transformers", "peft", "mlx-lm"]


@dataclass(frozen=True)
class Job:
    """Open `folder` (with `adapter` on it), give the logits after every token of the first
    `measured` prompts (all where None), and answer every prompt greedily.

    `stop_ids` end an answer; with `max_tokens` 0 nothing is answered. `dtype`: the arithmetic,
    whatever the weights are stored in, or what they are stored in.
    """

    framework: Framework
    folder: Path
    adapter: Path | None
    prompts: tuple[tuple[int, ...], ...]
    max_tokens: int
    stop_ids: tuple[int, ...]
    dtype: Literal["float32", "stored"] = "float32"
    measured: int | None = None

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The prompts whose logits are wanted."""
        return self.prompts[: self.measured]

    def write(self, file: Path) -> None:
        tree = {**asdict(self), "folder": str(self.folder)}
        tree["adapter"] = None if self.adapter is None else str(self.adapter)
        file.write_text(json.dumps(tree), "utf-8")

    @classmethod
    def read(cls, file: Path) -> Job:
        tree = json.loads(file.read_text("utf-8"))
        return cls(
            framework=tree["framework"],
            folder=Path(tree["folder"]),
            adapter=None if tree["adapter"] is None else Path(tree["adapter"]),
            prompts=tuple(tuple(row) for row in tree["prompts"]),
            max_tokens=tree["max_tokens"],
            stop_ids=tuple(tree["stop_ids"]),
            dtype=tree["dtype"],
            measured=tree["measured"],
        )


@dataclass(frozen=True)
class Seen:
    """`logits`: float32 [tokens, vocabulary] of each measured prompt. `answers`: token ids,
    without the stop token. `version`: of the libraries that made them."""

    logits: tuple[NDArray[np.float32], ...]
    answers: tuple[tuple[int, ...], ...]
    version: str = ""

    def write(self, file: Path) -> None:
        arrays: dict[str, NDArray[np.generic]] = {}
        for place, row in enumerate(self.logits):
            arrays[f"logits-{place}"] = row
        for place, ids in enumerate(self.answers):
            arrays[f"answer-{place}"] = np.array(ids, dtype=np.int64)
        arrays["version"] = np.array(self.version)
        with file.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, file: Path) -> Seen:
        with np.load(file, allow_pickle=False) as held:
            count = {kind: sum(name.startswith(kind) for name in held) for kind in ("log", "ans")}
            return cls(
                logits=tuple(held[f"logits-{place}"] for place in range(count["log"])),
                answers=tuple(
                    tuple(int(one) for one in held[f"answer-{place}"])
                    for place in range(count["ans"])
                ),
                version=str(held["version"]),
            )


def main(arguments: Sequence[str], see: Callable[[Job], Seen]) -> int:
    """Do the job of the first file and write what was seen to the second."""
    try:
        seen = see(Job.read(Path(arguments[0])))
    except ImportError as error:
        print(reason(error), file=sys.stderr)
        return NOT_HERE
    seen.write(Path(arguments[1]))
    return 0

"""Impostors: other authors' answers to open prompts, who must not read as the author."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mindprint.errors import DataError, Fault
from mindprint.evals.style.masking import Masking, covered
from mindprint.evals.text import normalise

FOLDER = Path(__file__).parent / "impostors"
COMPARABLE = 0.5
"""An impostor uses at least this share of the function words that author and base use, else it
writes in another language and is left out."""


@dataclass(frozen=True)
class Impostor:
    """An author invented for this project, or another's answers. `prompts` and `answers` pair."""

    name: str
    prompts: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name as people write it: `mags-orrell` is Mags Orrell."""
        words = self.name.replace("_", " ").replace("-", " ").split()
        return " ".join(word[:1].upper() + word[1:] for word in words)


@lru_cache(maxsize=1)
def shipped() -> tuple[Impostor, ...]:
    """The impostors that come with mindprint, by name. Raises DataError for a broken file."""
    return tuple(_read(file) for file in sorted(FOLDER.glob("*.jsonl")))


def comparable(
    impostors: Sequence[Impostor], author: Sequence[str], base: Sequence[str], masking: Masking
) -> tuple[Impostor, ...]:
    """Those who write in the language of author and base."""
    least = COMPARABLE * min(covered(author, masking.kept), covered(base, masking.kept))
    return tuple(
        one for one in impostors if one.answers and covered(one.answers, masking.kept) >= least > 0
    )


def laid_out(impostor: Impostor, prompts: Sequence[str]) -> list[str]:
    """An answer for each prompt: to the same prompt where there is one, else the impostor's other
    answers in turn."""
    pairs = zip(impostor.prompts, impostor.answers, strict=True)
    own = {normalise(prompt): answer for prompt, answer in pairs}
    asked = [normalise(prompt) for prompt in prompts]
    rest = [answer for prompt, answer in own.items() if prompt not in asked]
    rest = rest or list(impostor.answers)
    made, turn = [], 0
    for prompt in asked:
        if prompt in own:
            made.append(own[prompt])
        else:
            made.append(rest[turn % len(rest)])
            turn += 1
    return made


def _read(file: Path) -> Impostor:
    prompts, answers = [], []
    for line, text in enumerate(file.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(text)
            prompts.append(str(row["prompt"]))
            answers.append(str(row["answer"]))
        except (ValueError, KeyError, TypeError) as error:
            fault = Fault(str(file), line, "not a row of prompt and answer")
            raise DataError(f"cannot read the impostor {file.stem}", [fault]) from error
    return Impostor(file.stem, tuple(prompts), tuple(answers))

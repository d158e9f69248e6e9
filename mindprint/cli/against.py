"""How much of a curriculum's quiz stands in some other text, such as the base's pretraining."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from mindprint.curriculum.records import Curriculum
from mindprint.errors import ConfigError
from mindprint.evals.text import ngrams, words


def overlap_with(curriculum: Curriculum, file: Path, n: int) -> dict[str, float]:
    """Shares of the quiz's word n-grams that a line of `file` holds (`-` is stdin).

    Read line by line, keeping only the quiz's own n-grams: the text may be larger than memory.
    """
    items = [item for topic in curriculum.topics for item in topic.quiz]
    asked = {
        "questions": _grams((item.question for item in items), n),
        "references": _grams((item.reference for item in items), n),
    }
    sizes = {len(gram) for grams in asked.values() for gram in grams}
    wanted = {gram for grams in asked.values() for gram in grams}
    found: set[tuple[str, ...]] = set()
    for line in _lines(file):
        spoken = words(line)
        for size in sizes:
            found.update(wanted.intersection(ngrams(spoken, size)))
    return {
        name: sum(gram in found for gram in grams) / len(grams) if grams else 0.0
        for name, grams in asked.items()
    }


def pretraining_of(curriculum: Curriculum, model: str | None) -> dict[str, dict[str, float]]:
    """The same shares against what the base was pretrained on, where its folder remembers that;
    the shipped author is held against the shipped base unless a model is named."""
    from backends.model_files import resolve
    from mindprint.cli.shipped import CURRICULUM, MODEL
    from mindprint.curriculum.seen import FILE, N, Seen

    own = curriculum.root.resolve() == CURRICULUM.resolve()
    if model is None and not own:
        return {}
    where = (resolve(model) if model else MODEL) / FILE
    if not where.is_file():
        return {}
    seen = Seen.load(where)
    items = [item for topic in curriculum.topics for item in topic.quiz]
    return {
        "the base's pretraining": {
            "words": N,
            "questions": seen.share([item.question for item in items]),
            "references": seen.share([item.reference for item in items]),
        }
    }


def _grams(texts: Iterable[str], n: int) -> list[tuple[str, ...]]:
    """A text shorter than n words counts as one gram of its own length."""
    made: list[tuple[str, ...]] = []
    for text in texts:
        spoken = tuple(words(text))
        made += ngrams(spoken, n) if len(spoken) >= n else [spoken] if spoken else []
    return made


def _lines(file: Path) -> Iterator[str]:
    if str(file) == "-":
        yield from sys.stdin
        return
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            yield from stream
    except OSError as error:
        what = f"cannot read the text: {error.strerror or error}"
        raise ConfigError(what, where=f"--against {file}") from error

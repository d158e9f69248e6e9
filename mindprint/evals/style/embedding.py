"""Sentence embeddings as one more family: from a folder on this machine, never downloaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mindprint.errors import ConfigError
from mindprint.evals.style.bags import Array
from mindprint.evals.style.families import EMBEDDING, cosines


def check(folder: str | None) -> None:
    """Raises ConfigError for an embedder that cannot be: asked before any weight is loaded."""
    if folder is None:
        return
    path = Path(folder).expanduser()
    if not (path / "modules.json").is_file():
        there = "holds no modules.json" if path.is_dir() else "is not there"
        raise ConfigError(
            f"the folder {folder} {there}",
            where="eval.embedder",
            hint="give the folder of a sentence-transformers model; none is ever downloaded",
        )
    if importlib.util.find_spec("sentence_transformers") is None:
        raise ConfigError(
            "embeddings need sentence-transformers, which is not installed",
            where="eval.embedder",
            hint="pip install 'mindprint[embed]'",
        )


class Embedding:
    """Cosine of mean embeddings of the answers as they were said.

    `folder`: a sentence-transformers model. Raises ConfigError as `check`, or if no such model can
    be read from it.
    """

    name, whole, because = EMBEDDING, False, ""

    def __init__(self, folder: str) -> None:
        check(folder)
        from sentence_transformers import SentenceTransformer

        path = Path(folder).expanduser()
        try:
            self._model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"no sentence-transformers model can be read from {folder}: {error}",
                where="eval.embedder",
                hint="the folder needs the weights that its modules.json names",
            ) from error

    def features(self, texts: Sequence[str]) -> Array:
        made = self._model.encode(list(texts), show_progress_bar=False, convert_to_numpy=True)
        said = np.array([bool(text.strip()) for text in texts])
        return np.asarray(made * said[:, None], np.float32)

    likeness = staticmethod(cosines)

"""Sentence embeddings as one more family: from a folder on this machine, never downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mindprint.errors import ConfigError
from mindprint.evals.style.bags import Array
from mindprint.evals.style.families import EMBEDDING, cosines


class Embedding:
    """Cosine of mean embeddings of the answers as they were said.

    `folder`: a sentence-transformers model. Raises ConfigError if it is not a folder, if the
    extra is not installed, or if no such model can be read from it.
    """

    name, whole, because = EMBEDDING, False, ""

    def __init__(self, folder: str) -> None:
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise ConfigError(
                f"there is no folder {folder}",
                where="eval.embedder",
                hint="give the folder of a sentence-transformers model; none is ever downloaded",
            )
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ConfigError(
                "embeddings need sentence-transformers, which is not installed",
                where="eval.embedder",
                hint="pip install 'mindprint[embed]'",
            ) from error
        try:
            self._model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"no sentence-transformers model can be read from {folder}: {error}",
                where="eval.embedder",
                hint="the folder needs modules.json and the weights beside it",
            ) from error

    def features(self, texts: Sequence[str]) -> Array:
        made = self._model.encode(list(texts), show_progress_bar=False, convert_to_numpy=True)
        said = np.array([bool(text.strip()) for text in texts])
        return np.asarray(made * said[:, None], np.float32)

    likeness = staticmethod(cosines)

"""A model's folder: where it is, what its config says, and the hash that names it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from backends import text_part
from backends.errors import ModelError
from backends.json_files import json_of
from backends.weight_files import shards

WANTED = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]
# The same weights once more, in another layout or for another framework.
UNWANTED = ["consolidated*", "*/*"]


def resolve(path: str, revision: str | None = None) -> Path:
    """The local folder of a model: `path` itself, or a hub id's snapshot (downloaded if needed).

    Raises ModelError when neither is there, when the weights are not safetensors, or when a
    revision is asked of a folder.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ModelError(
                f"`{path}` is a folder, and a revision pins a hub id",
                where="model.revision",
                hint="leave model.revision out, or give the hub id as model.path",
            )
        return _checked(folder)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        raise ModelError(
            f"no model at `{path}`",
            where="model.path",
            hint="give a folder with config.json and *.safetensors, or a hub id `owner/name`",
        )
    return _checked(_download(path, revision))


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo, revision=revision, allow_patterns=WANTED, ignore_patterns=UNWANTED
        )
        return Path(found)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"no folder `{repo}`, and the hub does not give it: {first}",
            where="model.path" if revision is None else "model.path, model.revision",
            hint="check the name, the network, and `hf auth login` for gated models",
        ) from error


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ModelError("the model folder has no config.json", where=str(folder))
    if not any(file.is_file() for file in folder.glob("*.safetensors")):
        pickles = [p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"}]
        why = f"; `{pickles[0]}` is a pickle, which can run code when read" if pickles else ""
        raise ModelError(
            f"the model folder has no *.safetensors{why}",
            where=str(folder),
            hint="save the model with `save_pretrained(..., safe_serialization=True)`",
        )
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as it stands."""
    where = folder / "config.json"
    try:
        config = json_of(where)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the model's config: {error}", where=str(where)) from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError("config.json names no `model_type`", where=str(where))
    return config


def own_names(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name of a tensor in the model that is opened -> its name in the files: two where the model is
    the text part of another, whose other tensors are left out. Raises ModelError."""
    if text_part.kind(read_config(folder)) is None:
        return {name: name for name in names}
    return text_part.own_names(names)


def model_id(folder: Path, quantization: str = "none", backend: str = "") -> str:
    """SHA-256 over config.json and the files that make the model, by name: the same on every
    backend and machine, whatever else lies in the folder. With `quantization`, by which a backend
    packs the weights as it opens them, another one: of that backend alone."""
    total = hashlib.sha256()
    for file in sorted([folder / "config.json", *shards(folder)]):
        seen = file.stat()
        digest = _digest(file, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        total.update(f"{file.name} {digest}\n".encode())
    if quantization != "none":
        total.update(f"{quantization} by {backend}\n".encode())
    return total.hexdigest()


@lru_cache
def _digest(file: Path, inode: int, size: int, changed: int, touched: int) -> str:
    """SHA-256 of a file, read once by a process while nothing about it changes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def name_of(path: str) -> str:
    """How a model is called in files that travel: a hub id as it is, a folder by its last part."""
    folder = Path(path).expanduser()
    return folder.resolve().name if folder.is_dir() else path


def served(config: dict[str, Any], families: dict[str, str], backend: str, folder: Path) -> str:
    """The config's family, of a vision-language model that of its text part; or ModelError naming
    those that `backend` can serve."""
    family, where = str(config["model_type"]), str(folder / "config.json")
    if family not in families and text_part.kind(config) is not None:
        return text_part.check(config, families, backend, where)
    if family not in families:
        own = "; its `auto_map` names code in the folder, which mindprint never runs"
        raise ModelError(
            f"the {backend} backend cannot serve the model family `{_shown(family)}`"
            f"{own if config.get('auto_map') else ''}",
            where=where,
            hint=f"it serves: {', '.join(sorted(families))}",
        )
    return family


def _shown(name: str) -> str:
    """A name from a file of others, fit for a terminal."""
    return "".join(char if char.isprintable() else "?" for char in name[:80])


_SIZES = (
    "hidden_size",
    "intermediate_size",
    "vocab_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)


def check_sizes(config: dict[str, Any], where: str) -> None:
    """Raises ModelError for a size that is given and is no whole number of at least 1."""
    faults = [
        f"{key} is {config[key]!r}"
        for key in _SIZES
        if config.get(key) is not None
        and (not isinstance(config[key], int) or isinstance(config[key], bool) or config[key] < 1)
    ]
    if faults:
        raise ModelError(f"the config's sizes make no model: {', '.join(faults)}", where=where)

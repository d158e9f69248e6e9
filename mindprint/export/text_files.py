"""The files that turn text into ids and end an answer, which go along with a model's weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from backends.json_files import json_of

TEXT = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""Nothing else of the base's folder goes along."""
TOKENIZER = "tokenizer_config.json"


def copy_text(base: Path, folder: Path) -> None:
    for name in TEXT:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    if (base / TOKENIZER).is_file():
        tree = json_of(base / TOKENIZER)
        if isinstance(tree, dict) and tree.pop("auto_map", None) is not None:
            write_json(folder / TOKENIZER, tree)  # it named code, which does not go along
        else:
            shutil.copyfile(base / TOKENIZER, folder / TOKENIZER)


def write_json(file: Path, tree: dict[str, Any]) -> None:
    text = json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n", "utf-8")

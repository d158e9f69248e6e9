"""JSON files of a model's folder, read with bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_JSON = 64 * 1024 * 1024
"""Bytes of a configuration or an index; the index of the largest models has a tenth of it."""


def json_of(path: Path) -> Any:
    """What the file holds. Raises OSError, and ValueError for one that is no JSON, is no regular
    file, is too large, or is nested too deep."""
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    with path.open("rb") as stream:
        data = stream.read(MAX_JSON + 1)
    if len(data) > MAX_JSON:
        raise ValueError(f"larger than {MAX_JSON:,} bytes")
    try:
        return json.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error

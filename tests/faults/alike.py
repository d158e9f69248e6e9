"""Two run folders compared: what must be the same bytes, and what the same but for the clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXACT = ("adapter_config.json", "adapter_model.safetensors", "ledger.json", "reference.npy")
"""The model and its ledger: the promise."""

TOLD = ("metrics.jsonl", "answers.jsonl", "eval.json", "kept.json", "final.json", "plan.json")
"""What else holds no clock."""

OF_THIS_RUN = {"timings", "memory", "command", "because", "sha256", "seconds", "tokens_per_second"}
"""Keys of `result.json` that tell of the hour and the place, and on whose word a choice was made
(which goes with a `result.json` that is lost), not of the model."""


def bytes_that_differ(one: Path, other: Path, names: tuple[str, ...] = EXACT) -> list[str]:
    """Files, by their place in the folder, that only one run has or that differ."""
    mine, theirs = _files(one, names), _files(other, names)
    return sorted(
        name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)
    )


def results_that_differ(one: Path, other: Path) -> list[str]:
    """Keys of `result.json`, as paths, that differ: scores, verdicts, curves, and all the rest
    but times, memory, and the notes that only a resumed run has."""
    trees = [json.loads((run / "result.json").read_text("utf-8")) for run in (one, other)]
    return list(_apart("", *map(_timeless, trees)))


def _files(run: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.name in names
    }


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        kept = {key: value for key, value in tree.items() if key not in OF_THIS_RUN}
        return {key: _timeless(value) for key, value in kept.items() if key != "notes"}
    return [_timeless(value) for value in tree] if isinstance(tree, list) else tree


def _apart(where: str, one: Any, other: Any) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [p for key in keys for p in _apart(f"{where}.{key}", one.get(key), other.get(key))]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [path for n, (a, b) in pairs for path in _apart(f"{where}[{n}]", a, b)]
    return [] if one == other else [f"{where.lstrip('.')}: {str(one)[:60]} / {str(other)[:60]}"]

"""One contract over MLX and PyTorch. Importing this imports no framework."""

from __future__ import annotations

import difflib
import importlib
import platform
from collections.abc import Mapping
from typing import cast

from backends.contract import Availability, Backend, Choice
from backends.engines import Engine
from backends.errors import BackendUnavailable

TABLE = {
    "mlx": "backends.mlx:MlxBackend",
    "torch": "backends.torch:TorchBackend",
}
ENGINES = {
    "trl": "backends.torch.trl:TrlEngine",
}
"""Trainers that take whole stages, each over sessions of one backend."""


def get(name: str) -> Backend:
    """The backend of that name, not yet checked for whether it works here."""
    return cast(Backend, _made(name, TABLE, "backend", beside="auto"))


def engine(name: str) -> Engine:
    """The engine of that name, which works here. Raises BackendUnavailable when it does not, or
    when there is none of that name."""
    made = _engine(name)
    found = made.availability()
    if not found.ok:
        raise BackendUnavailable(
            f"engine `{name}` does not work here: {found.reason}",
            where="--engine",
            hint=found.hint,
        )
    return made


def available() -> dict[str, Availability]:
    """For each backend whether it works here, why not, and the command that would make it work."""
    return {name: get(name).availability() for name in TABLE}


def available_engines() -> dict[str, Availability]:
    """The same of each engine."""
    return {name: _engine(name).availability() for name in ENGINES}


def choose(name: str = "auto") -> Choice:
    """The backend to use and why: MLX on Apple silicon, else CUDA, else PyTorch on the CPU.

    Raises BackendUnavailable when the one named, or every one, does not work here.
    """
    if name != "auto":
        found = get(name).availability()
        if not found.ok:
            raise BackendUnavailable(
                f"backend `{name}` does not work here: {found.reason}",
                where="--backend",
                hint=found.hint,
            )
        return Choice(name, because="named", key="backend")
    found_all = available()
    if platform.system() == "Darwin" and platform.machine() == "arm64" and found_all["mlx"].ok:
        return Choice("mlx", because=f"Apple silicon, {found_all['mlx'].reason}", key="backend")
    if found_all["torch"].ok:
        best = "CUDA" if "cuda" in found_all["torch"].devices else "no CUDA, so on the CPU"
        return Choice("torch", because=f"{best}, {found_all['torch'].reason}", key="backend")
    if found_all["mlx"].ok:
        because = f"{found_all['mlx'].reason}; PyTorch: {found_all['torch'].reason}"
        return Choice("mlx", because=because, key="backend")
    raise BackendUnavailable(
        "no backend works here",
        where="; ".join(f"{name}: {found.reason}" for name, found in found_all.items()),
        hint=" or ".join(found.hint for found in found_all.values() if found.hint),
    )


def _engine(name: str) -> Engine:
    return cast(Engine, _made(name, ENGINES, "engine", beside="native"))


def _made(name: str, table: Mapping[str, str], kind: str, *, beside: str) -> object:
    """What `table` holds under that name; `beside` is a name that stands for something else."""
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        guess = f"did you mean `{near[0]}`? " if near else ""
        raise BackendUnavailable(
            f"there is no {kind} `{name}`",
            where=f"--{kind}",
            hint=f"{guess}use one of: {beside}, {', '.join(table)}",
        )
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)()

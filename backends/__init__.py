"""One contract over MLX and PyTorch. Importing this imports no framework."""

from __future__ import annotations

import difflib
import importlib
import platform
from typing import cast

from backends.contract import Availability, Backend, Choice
from backends.errors import BackendUnavailable

TABLE = {
    "mlx": "backends.mlx:MlxBackend",
    "torch": "backends.torch:TorchBackend",
}


def get(name: str) -> Backend:
    """The backend of that name, not yet checked for whether it works here."""
    if name not in TABLE:
        near = difflib.get_close_matches(name, TABLE, n=1)
        guess = f"did you mean `{near[0]}`? " if near else ""
        raise BackendUnavailable(
            f"there is no backend `{name}`",
            where="--backend",
            hint=f"{guess}use one of: auto, {', '.join(TABLE)}",
        )
    module, _, attribute = TABLE[name].partition(":")
    return cast(Backend, getattr(importlib.import_module(module), attribute)())


def available() -> dict[str, Availability]:
    """For each backend whether it works here, why not, and the command that would make it work."""
    return {name: get(name).availability() for name in TABLE}


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

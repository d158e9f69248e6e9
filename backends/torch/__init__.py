"""PyTorch through transformers and PEFT. Importing this imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec

from packaging.version import Version

from backends.contract import Availability, ModelSpec, Session
from backends.errors import BackendUnavailable, reason

NEEDS = {"torch": "2.11", "transformers": "5.0", "peft": "0.19"}
INSTALL = 'pip install "mindprint[torch]"'
REPAIR = f"{INSTALL} --force-reinstall"


class TorchBackend:
    """Opens models on CUDA, on the CPU, or (when named) on MPS."""

    name = "torch"

    def availability(self) -> Availability:
        """Versions are read from package metadata; torch is imported only when all are there."""
        found = usable(NEEDS, INSTALL)
        if not found.ok:
            return found
        versions = found.versions
        try:
            devices = _devices()
        except (ImportError, OSError, AttributeError) as error:
            return Availability(False, _unloaded("torch", error), hint=REPAIR, versions=versions)
        why = f"torch {versions['torch']} on {', '.join(devices)}"
        return Availability(True, why, versions=versions, devices=devices)

    def open(self, spec: ModelSpec) -> Session:
        """Raises BackendUnavailable, or ModelError when the model cannot be opened as asked."""
        found = self.availability()
        if not found.ok:
            raise BackendUnavailable(
                f"the torch backend does not work here: {found.reason}", hint=found.hint
            )
        try:
            from backends.torch.session import TorchSession
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                f"the torch backend does not work here: {_unloaded('it', error)}", hint=REPAIR
            ) from error
        return TorchSession(spec)


def usable(needs: Mapping[str, str], install: str) -> Availability:
    """Whether each library of `needs` is installed, in at least the version named there; `install`
    is the command that would help."""
    missing = [library for library in needs if not _installed(library)]
    if missing:
        return Availability(False, f"not installed: {', '.join(missing)}", hint=install)
    versions = {library: metadata.version(library) for library in needs}
    old = [
        f"{library} {versions[library]} (needs {least})"
        for library, least in needs.items()
        if Version(versions[library]) < Version(least)
    ]
    if old:
        why = f"too old: {', '.join(old)}"
        return Availability(False, why, hint=f"{install} --upgrade", versions=versions)
    return Availability(True, "", versions=versions)


def _installed(library: str) -> bool:
    """Both found and registered: a stray folder of that name is not the library."""
    try:
        metadata.version(library)
        return find_spec(library) is not None
    except (metadata.PackageNotFoundError, ValueError):  # a half-imported module has no spec
        return False


def _unloaded(what: str, error: BaseException) -> str:
    """Installed, but its libraries or its files are not as they were made."""
    return f"{what} does not load: {reason(error)}"


def _devices() -> tuple[str, ...]:
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.insert(0, "cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)

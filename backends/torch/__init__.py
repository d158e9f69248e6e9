"""PyTorch through transformers and PEFT. Importing this imports no framework."""

from __future__ import annotations

from importlib import metadata

from backends.contract import Availability, ModelSpec, Session
from backends.deferred import deferred, uncollected
from backends.errors import BackendUnavailable, reason
from backends.libraries import is_installed, usable
from backends.torch.hub_kernels import keep_local

NEEDS = {"torch": "2.11", "transformers": "5.0", "peft": "0.19"}
INSTALL = 'pip install "mindprint[torch]"'
REPAIR = f"{INSTALL} --force-reinstall"
PACKER = "bitsandbytes"
UNUSED = (
    "scipy.optimize",
    "torch._dynamo",
    "torch.distributed._composable.fsdp",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
    "transformers.distributed.expert_parallel",
    "transformers.distributed.tensor_parallel",
)
"""What transformers imports with every model, for models that are compiled or lie on several
devices: 2 of the 3 seconds that its import takes."""

keep_local()  # before anything imports bitsandbytes


class TorchBackend:
    """Opens models on CUDA, on the CPU, or (when named) on MPS."""

    name = "torch"

    def availability(self) -> Availability:
        """Versions are read from package metadata; torch is imported only when all are there."""
        found = usable(NEEDS, INSTALL)
        if not found.ok:
            return found
        versions = {**found.versions, **_beside()}
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
        # Apart: the one is needed where weights are packed, and PEFT imports it for everybody.
        with deferred(PACKER), deferred(*UNUSED), uncollected():
            return _opened(spec)


def _opened(spec: ModelSpec) -> Session:
    try:
        from backends.torch.session import TorchSession
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            f"the torch backend does not work here: {_unloaded('it', error)}", hint=REPAIR
        ) from error
    return TorchSession(spec)


def _unloaded(what: str, error: BaseException) -> str:
    """Installed, but its libraries or its files are not as they were made."""
    return f"{what} does not load: {reason(error)}"


def _beside() -> dict[str, str]:
    """What packs weights, where it is installed: their numbers go by its version."""
    return {PACKER: metadata.version(PACKER)} if is_installed(PACKER) else {}


def _devices() -> tuple[str, ...]:
    with uncollected():
        import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.insert(0, "cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)

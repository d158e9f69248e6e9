"""What launchers ask of accelerate through the environment, none of which a run takes: what a run
does is what its configuration says."""

from __future__ import annotations

import os
from typing import Any

from accelerate.utils import DistributedType, DynamoBackend

from backends.errors import AdapterError

_OWN = "ACCELERATE_"
_HARMLESS = {
    "ACCELERATE_DEBUG_MODE",
    "ACCELERATE_ENABLE_RICH",
    "ACCELERATE_LOG_LEVEL",
    "ACCELERATE_USE_CPU",  # the device that comes of it is checked
}
_NOTHING = {"", "0", "n", "no", "f", "false", "off", "none", "default"}
"""What `accelerate launch` writes where it was asked for nothing."""

_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def check_environment(device: Any) -> None:
    """Before anything is made: some of it is obeyed by the making, some of it passed over in
    silence. Raises AdapterError."""
    named = sorted(os.environ.items())
    asked = [f"{name}={value}" for name, value in named if _asks(name, value, str(device))]
    if asked:
        raise _refused(f"the environment asks accelerate for {_listed(asked)}", asked[0])


def check_accelerator(accelerator: Any, device: Any) -> None:
    """Once it is made, whatever it was told by. Raises AdapterError."""
    compiler, precision = accelerator.state.dynamo_plugin.backend, accelerator.mixed_precision
    told = {
        "several processes": accelerator.num_processes != 1,
        "a distributed trainer": accelerator.distributed_type != DistributedType.NO,
        f"mixed precision ({precision})": precision != "no",
        f"a compiler ({compiler.value.lower()})": compiler != DynamoBackend.NO,
        f"the device {accelerator.device}": accelerator.device.type != device.type,
    }
    if asked := [name for name, found in told.items() if found]:
        raise _refused(f"accelerate was told to use {_listed(asked)}", _OWN + "*")


def _asks(name: str, value: str, device: str) -> bool:
    if name in _SIZES:
        return value.isdigit() and int(value) > 1
    if name == "LOCAL_RANK":
        return value != "-1"
    if name == "ACCELERATE_TORCH_DEVICE":
        return value != device
    return name.startswith(_OWN) and name not in _HARMLESS and value.lower() not in _NOTHING


def _listed(asked: list[str]) -> str:
    return " and ".join(f"`{one}`" if "=" in one else one for one in asked)


def _refused(what: str, where: str) -> AdapterError:
    return AdapterError(
        f"{what}, which a run does not take",
        where=where.partition("=")[0],
        hint="start mindprint itself, without `accelerate launch` or `torchrun`, and unset what "
        "a shell profile sets",
    )

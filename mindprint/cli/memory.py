"""Where a prepared run will compute, and whether it fits there, before a weight is loaded."""

from __future__ import annotations

from dataclasses import replace

from backends.room import Room
from mindprint.cli.prepare import Material, Prepared
from mindprint.memory.estimate import Estimate, Place
from mindprint.memory.outlook import outlook
from mindprint.memory.remedy import Command
from mindprint.memory.room import main_memory

GPUS = {"mlx": ("gpu",), "torch": ("cuda", "mps")}
"""Devices that `gpu` stands for, the first that is there."""


def settled(prepared: Prepared, command: Command | None = None) -> Prepared:
    """The same with its outlook, and planned with gradient checkpointing where that decides whether
    it fits. `command`: asks for a run with other settings, where this one has its own.

    Raises TooLarge with the largest that fits, unless `run.memory_check` is `warn`.
    """
    place = place_of(prepared)
    estimate = Estimate.of(prepared.plan, prepared.resolved.config, prepared.folder, place)
    found = outlook(estimate, room_of(place))
    if found.refused is not None:
        raise found.refused if command is None else found.refused.by(command)
    memory = {need.part: need.total for need in found.needs}
    plan = prepared.plan.settled(found.choices, found.checkpointed, memory)
    return replace(prepared, plan=plan, outlook=found)


def place_of(material: Material) -> Place:
    """What `auto` will stand for, as the backend says of its devices."""
    from backends import get
    from backends.precision import precision

    backend, device = material.backend.name, material.device
    if device in ("auto", "gpu"):
        there = get(backend).availability().devices
        named = [one for one in GPUS[backend] if one in there]
        # PyTorch takes Metal only when it is named.
        device = next((one for one in named if one != "mps" or material.device == "gpu"), "cpu")
    return Place(backend, device, precision(backend, device, material.dtype).name)


def room_of(place: Place) -> Room | None:
    from backends.room import room

    return main_memory() if place.in_main_memory else room(place.backend, place.device)

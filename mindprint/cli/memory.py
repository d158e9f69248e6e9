"""Where a prepared run will compute, and whether it fits there, before a weight is loaded."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from backends.room import Room
from mindprint.cli.prepare import Material, Prepared
from mindprint.memory.estimate import Estimate, Place
from mindprint.memory.outlook import TooLarge, outlook
from mindprint.memory.room import main_memory

GPUS = {"mlx": ("gpu",), "torch": ("cuda", "mps")}
"""Devices that `gpu` stands for, the first that is there."""

HALF = {("torch", "cuda"): "bfloat16", ("mlx", "gpu"): "bfloat16"}
"""Where `model.dtype: auto` is not float32."""


def settled(prepared: Prepared, run: Path | None = None) -> Prepared:
    """The same with its outlook, and planned with gradient checkpointing where that decides whether
    it fits. `run`: the folder of a run that is gone on with.

    Raises TooLarge with the largest that fits, unless `run.memory_check` is `warn`.
    """
    place = place_of(prepared)
    estimate = Estimate.of(prepared.plan, prepared.resolved.config, prepared.folder, place)
    found = outlook(estimate, room_of(place))
    if found.refused is not None:
        raise found.refused if run is None else _in_a_fork(found.refused, run)
    memory = {need.part: need.total for need in found.needs}
    plan = prepared.plan.settled(found.choices, found.checkpointed, memory)
    return replace(prepared, plan=plan, outlook=found)


def place_of(material: Material) -> Place:
    """What `auto` will stand for, as the backend says of its devices."""
    from backends import get

    backend, device = material.backend.name, material.device
    if device in ("auto", "gpu"):
        there = get(backend).availability().devices
        named = [one for one in GPUS[backend] if one in there]
        # PyTorch takes Metal only when it is named.
        device = next((one for one in named if one != "mps" or material.device == "gpu"), "cpu")
    dtype = material.dtype if material.dtype != "auto" else HALF.get((backend, device), "float32")
    return Place(backend, device, dtype)


def room_of(place: Place) -> Room | None:
    from backends.room import room

    return main_memory() if place.in_main_memory else room(place.backend, place.device)


def _in_a_fork(refused: TooLarge, run: Path) -> TooLarge:
    """Other settings are another run."""
    command = shlex.join(["mindprint", "resume", str(run), "--fork", "NEW"])
    hint = f"{refused.hint}; other batches and lengths need a new run (`{command}`)"
    return TooLarge(refused.what, where=refused.where, hint=hint)

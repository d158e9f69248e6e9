"""TRL and what it stands on, without telemetry, notices or a mark on the process."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from collections.abc import Iterator
from typing import Any

import huggingface_hub.constants
import numpy as np
import torch
from accelerate.state import AcceleratorState, GradientState
from transformers.utils import logging

_TRL = "trl"


@contextlib.contextmanager
def quiet(device: Any) -> Iterator[None]:
    """Inside, no trainer reports that it was made, and only errors are told. Afterwards the
    environment, the random generators and accelerate's state are as they were."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_untold())
        stack.enter_context(_errors_alone())
        stack.enter_context(warnings.catch_warnings())
        # PEFT and TRL ask transformers by a name that it is about to change.
        warnings.filterwarnings("ignore", ".*gradient_checkpointing.*", FutureWarning)
        stack.enter_context(_environment_kept())
        stack.enter_context(_random_states_kept(device))
        stack.callback(_forget_accelerate)
        yield


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    """TRL sends a note of every trainer through the hub's library, which reads this each time."""
    constants = huggingface_hub.constants
    before = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


@contextlib.contextmanager
def _errors_alone() -> Iterator[None]:
    import logging as plain

    verbosity, own = logging.get_verbosity(), plain.getLogger(_TRL)
    level = own.level
    logging.set_verbosity_error()
    own.setLevel(plain.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        own.setLevel(level)


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _random_states_kept(device: Any) -> Iterator[None]:
    """A trainer seeds every generator there is."""
    kept = random.getstate(), np.random.get_state()
    on_mps = torch.mps.get_rng_state() if device.type == "mps" else None
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])
            if on_mps is not None:
                torch.mps.set_rng_state(on_mps)


def _forget_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()

"""The random stream that dropout draws from: a learner's own, so that it can be saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


class Noise:
    """A generator state for `device`, swapped in only while a learner computes."""

    def __init__(self, seed: int, device: Any) -> None:
        self._device = device
        before = drawn_from(device)
        self._seed(seed)
        self._state = drawn_from(device)
        draw_from(device, before)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the framework's generator is this stream, and moves it on."""
        before = drawn_from(self._device)
        draw_from(self._device, self._state)
        try:
            yield
        finally:
            self._state = drawn_from(self._device)
            draw_from(self._device, before)

    def state(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.array(self._state.cpu().numpy(), dtype=np.uint8, copy=True)

    def set_state(self, state: np.ndarray[Any, Any]) -> None:
        self._state = torch.from_numpy(np.array(state, dtype=np.uint8))

    def _seed(self, seed: int) -> None:
        if self._device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self._device.type == "mps":
            torch.mps.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed reseeds every device


def drawn_from(device: Any) -> Any:
    """Where the framework's generator for `device` stands, uint8 on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def draw_from(device: Any, state: Any) -> None:
    """Let the framework's generator for `device` go on from `state`."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)


@contextlib.contextmanager
def drawn_again(device: Any, state: Any) -> Iterator[None]:
    """Inside, what is drawn on `device` is what was drawn from `state` on."""
    before = drawn_from(device)
    draw_from(device, state)
    try:
        yield
    finally:
        draw_from(device, before)

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
        before = self._get()
        self._seed(seed)
        self._state = self._get()
        self._set(before)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the framework's generator is this stream, and moves it on."""
        before = self._get()
        self._set(self._state)
        try:
            yield
        finally:
            self._state = self._get()
            self._set(before)

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

    def _get(self) -> Any:
        if self._device.type == "cuda":
            return torch.cuda.get_rng_state(self._device)
        return torch.mps.get_rng_state() if self._device.type == "mps" else torch.get_rng_state()

    def _set(self, state: Any) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state, self._device)
        elif self._device.type == "mps":
            torch.mps.set_rng_state(state)
        else:
            torch.set_rng_state(state)

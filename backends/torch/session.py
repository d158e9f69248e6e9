"""One opened model on PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from backends import model_files
from backends.contract import (
    AdapterManager,
    Batch,
    Choice,
    Generated,
    GenerateSpec,
    Learner,
    LogProbs,
    Memory,
    ModelInfo,
    ModelSpec,
    Objective,
    OnToken,
    OptimizerSpec,
    SplineInputs,
    World,
)
from backends.lifetime import while_open
from backends.torch import memory
from backends.torch.adapters import TorchAdapters
from backends.torch.generate import generate
from backends.torch.learner import TorchLearner
from backends.torch.losses import token_logprobs
from backends.torch.model import Opened, open_model
from backends.torch.spline_meter import metered
from backends.torch.trainable import array


class TorchSession:
    """The contract's Session."""

    def __init__(self, spec: ModelSpec) -> None:
        opened = open_model(spec)
        self._opened: Opened = opened
        self._device = opened.device
        self._manager = TorchAdapters(opened)
        self.adapters: AdapterManager = self._manager
        self.world = World()
        self.model_id = model_files.model_id(opened.folder, spec.quantization, "torch")
        self.info: ModelInfo = opened.info
        self.choices: tuple[Choice, ...] = opened.choices

    @property
    def opened(self) -> Opened:
        """The model itself, for whoever trains it in the session's place."""
        return self._opened

    @property
    def attachments(self) -> TorchAdapters:
        """`adapters`, with what a trainer needs of it beside the contract."""
        return self._manager

    @while_open
    def learner(
        self, objective: Objective, optimizer: OptimizerSpec, *, checkpointing: bool = False
    ) -> Learner:
        return TorchLearner(
            self._opened, self._manager, objective, optimizer, checkpointing=checkpointing
        )

    @while_open
    def logprobs(self, batch: Batch, per_token: bool = False) -> LogProbs:
        opened = self._opened
        opened.bounds.check_batch(batch)
        with memory.out_of_memory(batch.ids.shape, self._device), torch.no_grad():
            tokens = token_logprobs(opened, batch)
            rows = array(tokens.sum(dim=1))
        return LogProbs(rows=rows, tokens=array(tokens) if per_token else None)

    @while_open
    def logits(self, batch: Batch) -> NDArray[np.float32]:
        opened = self._opened
        opened.bounds.check_batch(batch)
        with memory.out_of_memory(batch.ids.shape, self._device), torch.no_grad():
            ids = torch.from_numpy(batch.ids).to(self._device, torch.int64)
            return array(opened.head(opened.hidden(ids)))

    @while_open
    def spline_inputs(self, batch: Batch) -> dict[str, SplineInputs]:
        opened = self._opened
        opened.bounds.check_batch(batch)
        with memory.out_of_memory(batch.ids.shape, self._device), torch.no_grad():
            return metered(opened, self._manager.training, batch)

    @while_open
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        spec: GenerateSpec,
        on_token: OnToken | None = None,
    ) -> list[Generated]:
        return generate(self._opened, prompts, spec, on_token)

    def unpacked(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        self._enter()
        for path, layer in self._opened.packed.items():
            yield f"{path}.weight", array(layer.unpacked(getattr(torch, self.info.dtype)))

    def memory(self) -> Memory:
        return memory.memory(self._device)

    def close(self) -> None:
        """Free the model. Closing twice is fine; using a closed session is an error."""
        if not self._opened.closed:
            self._manager.close()
            self._opened.close()
        memory.release(self._device)

    def _enter(self) -> None:
        self._opened.check_open()

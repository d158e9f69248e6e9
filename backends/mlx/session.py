"""One opened model on MLX."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from backends import model_files
from backends.asked import check_spec
from backends.contract import (
    AdapterManager,
    Batch,
    Choice,
    Generated,
    GenerateSpec,
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
from backends.errors import ModelError
from backends.lifetime import while_open
from backends.mlx import blas, memory
from backends.mlx.adapters import MlxAdapters
from backends.mlx.base_weight import dense, sizes
from backends.mlx.chip import chip
from backends.mlx.device import DTYPES, choose_device, choose_dtype, room_for, use
from backends.mlx.framework import mx
from backends.mlx.generate import generate
from backends.mlx.learner import MlxLearner
from backends.mlx.losses import Rows, row_sums, token_logprobs
from backends.mlx.model import Decoder, load
from backends.mlx.packing import numbers, precision
from backends.mlx.spline_meter import metered


class MlxSession:
    """The contract's Session."""

    def __init__(self, spec: ModelSpec) -> None:
        check_spec(spec)
        folder = model_files.resolve(spec.path, spec.revision)
        device, attention = choose_device(spec), _attention(spec)
        dtype = precision(choose_dtype(spec, device.name), spec, folder)
        use(device.name)
        with room_for("the model"):
            decoder = load(folder, spec, DTYPES[dtype.name], device.name)
        self._decoder = decoder
        self._adapters = MlxAdapters(decoder, model_files.name_of(spec.path))
        self.adapters: AdapterManager = self._adapters
        self.world = World()
        self.model_id = model_files.model_id(folder, spec.quantization, "mlx")
        self.info = _info(decoder, dtype.name, device.name)
        served = (blas.loaded(),) if device.name == "cpu" else ()
        self.choices: tuple[Choice, ...] = (
            device,
            dtype,
            attention,
            *served,
            *decoder.packed.told(),
        )

    @while_open
    def learner(
        self, objective: Objective, optimizer: OptimizerSpec, *, checkpointing: bool = False
    ) -> MlxLearner:
        return MlxLearner(
            self._decoder, self._adapters, objective, optimizer, checkpointing=checkpointing
        )

    @while_open
    def logprobs(self, batch: Batch, per_token: bool = False) -> LogProbs:
        self._decoder.bounds.check_batch(batch)
        rows = Rows.of(batch, self._decoder.plan.window)
        with room_for(_size(batch)):
            tokens = token_logprobs(self._decoder, rows)
            sums = np.array(row_sums(tokens, rows))
        if not per_token:
            return LogProbs(rows=sums)
        spread = np.zeros(batch.ids.size, dtype=np.float32)
        spread[rows.place] = np.array(tokens)
        return LogProbs(rows=sums, tokens=spread.reshape(batch.ids.shape))

    @while_open
    def logits(self, batch: Batch) -> NDArray[np.float32]:
        self._decoder.bounds.check_batch(batch)
        with room_for(_size(batch)):
            return np.array(self._decoder.logits(mx.array(batch.ids)))

    @while_open
    def spline_inputs(self, batch: Batch) -> dict[str, SplineInputs]:
        self._decoder.bounds.check_batch(batch)
        training = self._adapters.training
        if training is None:
            return {}
        with room_for(_size(batch)):
            return metered(self._decoder, training[1], self._adapters.arrays(), batch)

    @while_open
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        spec: GenerateSpec,
        on_token: OnToken | None = None,
    ) -> list[Generated]:
        return generate(self._decoder, prompts, spec, on_token)

    def unpacked(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        self._enter()
        for path, layer in self._decoder.packed.layers.items():
            yield f"{path}.weight", np.array(dense(layer))

    def memory(self) -> Memory:
        return memory.memory()

    def close(self) -> None:
        """Free the model. Closing twice is fine; using a closed session is an error."""
        self._decoder.close()
        self._adapters.close()
        gc.collect()
        mx.clear_cache()

    def _enter(self) -> None:
        self._decoder.enter()


def _attention(spec: ModelSpec) -> Choice:
    if spec.attention == "auto":
        return Choice("sdpa", because="MLX's only attention", key="model.attention")
    if spec.attention != "sdpa":
        raise ModelError(
            f"MLX has no attention implementation `{spec.attention}`",
            where="model.attention",
            hint="use auto or sdpa",
        )
    return Choice("sdpa", because="named", key="model.attention")


def _size(batch: Batch) -> str:
    return f"{len(batch.ids)} rows of {batch.ids.shape[1]} tokens"


def _info(decoder: Decoder, dtype: str, device: str) -> ModelInfo:
    plan, on_cpu = decoder.plan, device == "cpu"
    vocabulary, hidden = sizes(decoder.net.model.embed_tokens)
    return ModelInfo(
        family=plan.family,
        layers=len(plan.kinds),
        hidden=hidden,
        vocabulary=vocabulary,
        parameters=numbers(decoder.net),
        dtype=dtype,
        device=device,
        window=plan.window,
        tied=plan.tied,
        threads=blas.threads() if on_cpu else 0,
        blas=blas.version() if on_cpu else "",
        chip=chip(device),
        quantization=decoder.packed.kind,
    )

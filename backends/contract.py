"""The contract between mindprint and a framework: the only things that may cross.

NumPy arrays, numbers, strings, paths and the frozen dataclasses below. Adapter tensors have one
name and one orientation on every backend: `{layer path}.lora_A` float32 [rank, in] and
`{layer path}.lora_B` float32 [out, rank], the layer path being the one transformers uses. A `dora`
adapter has `.lora_magnitude_vector` [out] beside them; an `lslora` adapter `.lora_spline_values`
[knots] and `.lora_spline_scales` [2], the factor before phi and the one after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from backends.adapter_spec import AdapterSpec as AdapterSpec
from backends.adapter_spec import Spline as Spline
from backends.spline_inputs import SplineInputs as SplineInputs

Params = dict[str, NDArray[np.float32]]
"""Adapter tensors (or their gradients) by contract name."""

Arrays = dict[str, NDArray[np.generic]]
"""Any named arrays: optimizer moments, step counters, generator states."""

OnToken = Callable[[int, int], None]
"""Called with (row, token id) as each token is decoded; stop tokens are not among them."""


@dataclass(frozen=True)
class Choice:
    """A value that was chosen, and why; every automatic choice is printed with its reason."""

    name: str
    because: str
    key: str = ""


@dataclass(frozen=True)
class Availability:
    """Whether a backend works on this machine; if not, why, and the command that would help."""

    ok: bool
    reason: str
    hint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """Which model to open and how.

    `path` is a local folder or a hub id (`revision` pins the latter). `longest_row` is the longest
    row in tokens that will be fed: a backend that cannot honour an attention window shorter than
    this refuses the model instead of computing something else. `quantization` packs the weights of
    an unquantized model as they are opened, as the backend does (MLX: affine groups; PyTorch:
    bitsandbytes' NF4 with double quantization, or int8): each is another model.
    """

    path: str
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cuda", "mps", "cpu", "gpu"] = "auto"
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    longest_row: int = 1024
    quantization: Literal["none", "4bit", "8bit"] = "none"


@dataclass(frozen=True)
class ModelInfo:
    """What was opened. `window` is the sliding attention window in tokens, if there is one.

    `threads` and `blas`: how many threads compute on the CPU and which library multiplies there,
    since the last digits of a float32 sum go by both; 0 and "" on a GPU. `chip`: which GPU, for
    the same reason; "" on the CPU and where the processor holds it. `quantization`: how the weights
    are packed ("4-bit in groups of 64", "nf4"), "none" where they are not; `dtype` is then that of
    everything else. `parameters` counts numbers, not the bytes they are packed in.
    """

    family: str
    layers: int
    hidden: int
    vocabulary: int
    parameters: int
    dtype: str
    device: str
    window: int | None
    tied: bool
    threads: int = 0
    blas: str = ""
    chip: str = ""
    quantization: str = "none"


@dataclass(frozen=True)
class Objective:
    """What a learner minimises.

    `sft`: summed negative log-likelihood / trained tokens of the window. `dpo`: mean over the
    window's pairs of `loss` (Rafailov et al. 2023; `ipo` Azar et al. 2023; `hinge` Zhao et al.
    2023; `length-normalised` is sigmoid over per-token log-ratios; the others use summed ones),
    plus `sft_weight` times the chosen answers' negative log-likelihood per token. Dropout acts in
    `sft` only: a DPO policy that starts as its reference must draw nothing.
    """

    kind: Literal["sft", "dpo"]
    beta: float = 0.1
    loss: Literal["sigmoid", "ipo", "hinge", "length-normalised"] = "sigmoid"
    sft_weight: float = 0.0


@dataclass(frozen=True)
class OptimizerSpec:
    """AdamW with bias correction, in float32. `seed` is that of the stage's dropout."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Rows of token ids, right-padded.

    `ids` int32 [rows, width]; `lengths` int32 [rows], real tokens of each row; `mask` bool
    [rows, width], true on the tokens whose log-probability counts (never the first of a row).
    With `pairs` the first half of the rows are chosen answers and the second half the rejected
    ones, in the same order, and `reference` float32 [rows] holds the reference's summed
    log-probabilities.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    mask: NDArray[np.bool_]
    pairs: bool = False
    reference: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        rows, width = self.ids.shape
        if self.mask.shape != (rows, width) or self.lengths.shape != (rows,):
            raise ValueError("ids, mask and lengths of a batch disagree in shape")
        if rows == 0 or self.lengths.min() < 2 or self.lengths.max() > width:
            raise ValueError("every row of a batch has 2 to `width` tokens")
        if self.mask[:, 0].any() or (self.mask & (np.arange(width) >= self.lengths[:, None])).any():
            raise ValueError("a trained token is the first of its row, or padding")
        if not self.mask.any(axis=1).all():
            raise ValueError("a row of a batch has no trained token")
        if self.pairs and rows % 2:
            raise ValueError("a batch of pairs has an even number of rows")


@dataclass(frozen=True)
class Window:
    """The denominators of one optimizer step, over all its batches (and all ranks).

    `tokens`: trained tokens (for pairs: of the chosen answers). `pairs`: preference pairs.
    """

    tokens: int
    pairs: int = 0


@dataclass(frozen=True)
class StepStats:
    """A batch's part in its window: parts of one window add up to the window's figures.

    `loss` is this batch's share of the window's loss. For pairs, summed over the batch's pairs
    and, whatever the objective's `loss`, from summed log-probabilities:
    `margin` = beta * (log-ratio chosen - log-ratio rejected), `wins` = pairs with margin > 0,
    `chosen_logratio` = policy minus reference log-probability of the chosen answers.
    `penalty` is the batch's share of what keeps LS-LoRA's splines near the identity, not in `loss`.
    """

    loss: float
    rows: int
    tokens: int
    pairs: int = 0
    margin: float = 0.0
    wins: int = 0
    chosen_logratio: float = 0.0
    chosen_tokens: int = 0
    penalty: float = 0.0


@dataclass(frozen=True)
class LogProbs:
    """`rows` float32 [rows]: summed over each row's masked tokens. `tokens` float32
    [rows, width], zero where unmasked, when asked for."""

    rows: NDArray[np.float32]
    tokens: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class GenerateSpec:
    """How to decode. `temperature` 0 is greedy. Any of `stop_ids` ends an answer."""

    max_tokens: int
    stop_ids: tuple[int, ...]
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    batch_size: int = 32


@dataclass(frozen=True)
class Generated:
    """An answer's token ids, without the stop token, and why it ended. `first_stop`: probability,
    at temperature 1, that the first of `stop_ids` ends it before it begins (0 without any)."""

    ids: tuple[int, ...]
    stop: Literal["stop", "length"]
    first_stop: float = 0.0


@dataclass(frozen=True)
class MergeReport:
    """What a merge into the base weights kept.

    `lost`: norm of (merged logits - exact logits) over norm of (exact logits - base logits),
    over `positions` probe positions. `weight_error`: norm of the rounding error over the norm of
    the delta, all layers together. `layers`: how many were changed.
    """

    lost: float
    weight_error: float
    positions: int
    layers: int
    dtype: str


@dataclass(frozen=True)
class Memory:
    """Bytes. `device_*` are the framework's own figures, or 0 where it keeps none (CPU)."""

    rss: int
    peak_rss: int
    device: int
    device_peak: int


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class AdapterState:
    """An exact in-memory copy of every attached adapter, for `restore`.

    `past` and `trainable` map adapter name to its spec and tensors; `merges` counts the merges the
    base had seen, since a restore across a merge is refused.
    """

    past: tuple[tuple[str, AdapterSpec, Params], ...]
    trainable: tuple[str, AdapterSpec, Params] | None
    merges: int


class AdapterManager(Protocol):
    """Owns every attachment to the base model. At most one adapter trains at a time."""

    def add(self, spec: AdapterSpec, name: str) -> None:
        """Attach a fresh trainable adapter: A as `backends.lora.init_a`, B zero.

        Raises AdapterError when no layer matches (listing those there are), when one already
        trains, or when the name is taken.
        """

    def trainable(self) -> dict[str, tuple[int, ...]]:
        """Contract name -> shape of every tensor that would get a gradient, read off the model
        itself (not off a note of what was attached)."""

    def parameters(self) -> Params:
        """Copies of the trainable tensors."""

    def active(self) -> tuple[str, ...]:
        """Names in order: the frozen past, then the trainable one. Merged names have left it, but
        stay taken, and `using` must include them."""

    def using(self, names: Sequence[str]) -> AbstractContextManager[None]:
        """Inside, only `names` act; `()` is the base alone. Merged adapters cannot be left out:
        asking for it raises AdapterError."""

    def snapshot(self) -> AdapterState: ...

    def restore(self, state: AdapterState) -> None:
        """Attach exactly what `state` holds, and nothing else."""

    def save(self, path: Path, name: str | None = None) -> None:
        """Write one adapter (the trainable one unless named) in PEFT's file format."""

    def load(self, path: Path, name: str, *, frozen: bool = False) -> None:
        """Attach an adapter from PEFT's files; shapes, names and layers are checked first."""

    def freeze(self, name: str) -> None:
        """The trained adapter joins the frozen past, exactly."""

    def merge_and_unload(self, bound: float = 0.1) -> MergeReport:
        """Fold everything attached into the base weights. Raises MergeRefused, leaving all as it
        was, when more than `bound` of the effect on the logits would be lost."""

    def unload(self, name: str) -> None:
        """Remove one adapter; with none left the base is as it was, bit for bit."""

    def base_fingerprint(self) -> dict[str, int]:
        """Base tensor name -> checksum of its bytes. Comparable within one session."""


class Learner(Protocol):
    """An objective and an optimizer over the trainable adapter."""

    def accumulate(self, batch: Batch, window: Window) -> StepStats:
        """Add this batch's gradient of the window's loss. Raises OutOfMemory."""

    def apply(self, learning_rate: float, max_grad_norm: float | None) -> float:
        """Clip, step, clear. Returns the norm before clipping; if that is not finite nothing is
        stepped and the gradient is dropped."""

    def discard(self) -> None:
        """Drop what was accumulated."""

    def gradients(
        self, batch: Batch, window: Window, at: Params | None = None
    ) -> tuple[float, Params]:
        """What is minimised, loss and penalty together, and its gradient, at other parameter
        values; leaves everything as it was."""

    def add_gradients(self, gradients: Params) -> None: ...

    def assign(self, params: Params) -> None:
        """Set trainable tensors. Names must be exactly the trainable ones."""

    def state(self) -> Arrays:
        """Moments, step and random state, as arrays by name."""

    def load_state(self, state: Arrays) -> None: ...


class Session(Protocol):
    """One opened model. Close it when done."""

    adapters: AdapterManager
    world: World
    model_id: str
    info: ModelInfo
    choices: tuple[Choice, ...]

    def learner(
        self, objective: Objective, optimizer: OptimizerSpec, *, checkpointing: bool = False
    ) -> Learner:
        """`checkpointing`: each layer's activations are computed again on the way back instead of
        kept. The numbers are the same; a step takes about a third longer."""

    def logprobs(self, batch: Batch, per_token: bool = False) -> LogProbs:
        """Float32, no gradient, dropout off."""

    def logits(self, batch: Batch) -> NDArray[np.float32]:
        """[rows, width, vocabulary], dropout off: for verification on a few rows."""

    def spline_inputs(self, batch: Batch) -> dict[str, SplineInputs]:
        """Layer path -> what its spline is given on these rows, everything attached acting and
        dropout off; {} unless the adapter in training is an `lslora`."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        spec: GenerateSpec,
        on_token: OnToken | None = None,
    ) -> list[Generated]: ...

    def unpacked(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Tensor name -> values of every weight that is held packed, float32, one after another as
        they are asked for: exactly the numbers that the model computes with. None without
        quantization. What was merged is not looked at: a packed base takes no merge."""

    def memory(self) -> Memory: ...

    def close(self) -> None: ...


class Backend(Protocol):
    """A framework."""

    name: str

    def availability(self) -> Availability: ...

    def open(self, spec: ModelSpec) -> Session: ...

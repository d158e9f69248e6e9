"""A model opened through transformers: frozen, in eval mode, with a backbone and a head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from backends import model_files, text_part, weight_files
from backends.asked import check_spec
from backends.bounds import Bounds, rotary_limit
from backends.contract import Choice, ModelInfo, ModelSpec
from backends.errors import FAULTS, ModelError, reason
from backends.packed_files import Packing, packing
from backends.torch import blas, choices, quantization
from backends.torch.chip import chip
from backends.torch.gated import keep_products
from backends.torch.memory import room_for, tells_of_memory
from backends.torch.norms import freeze_norms
from backends.torch.packed import PackedLinear
from backends.torch.products import freeze_linears

FAMILIES = {
    "llama": "Llama",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "mistral": "Mistral",
    "gemma3_text": "Gemma 3 (text)",
    "phi3": "Phi-3",
}

_CONFIG_FAULTS: tuple[type[Exception], ...] = (*FAULTS, StrictDataclassError)
_WEIGHT_FAULTS: tuple[type[Exception], ...] = (
    *FAULTS,
    RuntimeError,
    ImportError,
    SafetensorError,
)


class Opened:
    """`model` is a transformers causal language model; `name` is how files that travel call it;
    `packed`: its packed layers by path, as they were before anything was attached."""

    def __init__(
        self,
        model: Any,
        folder: Path,
        name: str,
        info: ModelInfo,
        chosen: tuple[Choice, ...],
        bounds: Bounds,
    ) -> None:
        self._model: Any | None = model
        self.folder, self.name, self.info = folder, name, info
        self.choices, self.bounds = chosen, bounds
        self.packed: Mapping[str, PackedLinear] = quantization.packed_layers(model)

    @property
    def model(self) -> Any:
        """Raises ModelError once closed: whoever still holds this holds no weights."""
        self.check_open()
        return self._model

    @property
    def closed(self) -> bool:
        return self._model is None

    def check_open(self) -> None:
        if self.closed:
            raise ModelError("this session is closed", hint="open the model again")

    def close(self) -> None:
        self._model, self.packed = None, {}

    @property
    def device(self) -> Any:
        return torch.device(self.info.device)

    def hidden(self, ids: Any, **settings: Any) -> Any:
        """Last hidden states [rows, width, hidden] of token ids [rows, width]."""
        limit = self.bounds.positions
        if limit is not None and ids.shape[1] > limit and "position_ids" not in settings:
            # Only padding lies there, and it must not change the frequencies of real tokens.
            places = torch.arange(ids.shape[1], device=ids.device).clamp(max=limit - 1)
            settings = {**settings, "position_ids": places[None]}
        output = self.model.model(input_ids=ids, **{"use_cache": False, **settings})
        return output.last_hidden_state

    def head(self, hidden: Any) -> Any:
        """Logits [..., vocabulary] in float32, as the model's own forward makes them."""
        logits = self.model.lm_head(hidden)
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        return logits.float()

    def linears(self) -> dict[str, nn.Module]:
        """Layer path -> every linear layer but the output head, in the model's order."""
        output = self.model.get_output_embeddings()
        return {
            path: module
            for path, module in self.model.named_modules()
            if isinstance(module, nn.Linear) and module is not output
        }


def open_model(spec: ModelSpec) -> Opened:
    """Open the folder or hub id of `spec`. Raises ModelError, BackendUnavailable, OutOfMemory."""
    check_spec(spec)
    folder = model_files.resolve(spec.path, spec.revision)
    raw = model_files.read_config(folder)
    family = model_files.served(raw, FAMILIES, "torch", folder)
    with _quiet():
        device = choices.device(spec)
        packed = _packing(spec, folder, raw, device.name)
        config = _config(folder)
        dtype = choices.dtype(spec, device.name)
        attention = choices.attention(spec, config, device.name, dtype.name)
        bounds = _bounds(config, spec.longest_row, str(folder / "config.json"))
        own = quantization.settings(spec, packed, choices.DTYPES[dtype.name], device.name)
        with room_for("the model", torch.device(device.name), where="model.path"):
            model = _load(folder, config, choices.DTYPES[dtype.name], attention.name, own, raw)
            if own:
                quantization.prepare(model)
            else:
                model.to(device.name)
    model.eval()
    model.requires_grad_(False)
    freeze_linears(model)
    freeze_norms(model)
    keep_products(model)
    on_cpu = device.name == "cpu"
    info = ModelInfo(
        family=family,
        layers=int(config.num_hidden_layers),
        hidden=int(config.hidden_size),
        vocabulary=int(config.vocab_size),
        parameters=quantization.numbers(model),
        dtype=dtype.name,
        device=device.name,
        window=_window(config),
        tied=model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        threads=blas.threads() if on_cpu else 0,
        blas=blas.version() if on_cpu else "",
        chip=chip(device.name),
        quantization=quantization.told(model),
    )
    name = model_files.name_of(spec.path)
    chosen = (device, dtype, attention, *quantization.choice(spec, packed, model))
    return Opened(model, folder, name, info, chosen, bounds)


def _config(folder: Path) -> Any:
    where = str(folder / "config.json")
    try:
        whole = AutoConfig.from_pretrained(folder, local_files_only=True)
        config = text_part.config_of(whole, AutoConfig.for_model)
        settings = config.to_dict()
        packed = getattr(whole, "quantization_config", None)
        if config is not whole and packed is not None:
            config.quantization_config = packed  # the whole's, and the text part is packed as well
    except _CONFIG_FAULTS as error:
        raise ModelError(
            f"transformers cannot read the config: {reason(error)}", where=where
        ) from error
    model_files.check_sizes(settings, where)
    if getattr(config, "use_bidirectional_attention", False):
        raise ModelError("the model attends to later tokens: it is no causal one", where=where)
    return config


def _packing(spec: ModelSpec, folder: Path, raw: dict[str, Any], device: str) -> Packing | None:
    """How the files hold the weights, seen to be something that can be opened here."""
    where = str(folder / "config.json")
    found = packing(raw, where)
    quantization.check(spec, found, device, where)
    if found is None:
        weight_files.check_floats(folder)
    return found


def _load(
    folder: Path,
    config: Any,
    dtype: Any,
    attention: str,
    own: dict[str, Any],
    raw: dict[str, Any],
) -> Any:
    """`own`: what `quantization.settings` adds; `raw`: the files' own config."""
    part = text_part.kind(raw) is not None
    if part:
        own = {**own, "key_mapping": text_part.renaming(weight_files.headers(folder))}
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **own,
        )
    except _WEIGHT_FAULTS as error:
        if isinstance(error, RuntimeError) and tells_of_memory(error):
            raise
        raise ModelError(
            f"transformers cannot open it: {reason(error)}", where=str(folder)
        ) from error
    _refuse_misfit(loading, folder, part)
    return model


def _refuse_misfit(loading: dict[str, Any], folder: Path, part: bool) -> None:
    """transformers would fill what is missing with random numbers, and drop what is unknown. Of a
    `part` of a model what belongs to the others is dropped."""
    faults = []
    for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        # Checkpoints of 2023 carry the rotary frequencies, which follow from the config.
        names = sorted(str(k) for k in loading.get(kind, ()) if not str(k).endswith("inv_freq"))
        if part and kind == "unexpected_keys":
            names = [name for name in names if name.startswith(text_part.OWN)]
        if names:
            faults.append(f"{kind.replace('_', ' ')}: {', '.join(names[:3])}")
    if faults:
        raise ModelError(
            f"the weights do not fit the config ({'; '.join(faults)})", where=str(folder)
        )


def _bounds(config: Any, longest: int, where: str) -> Bounds:
    try:
        limit = rotary_limit(config.rope_parameters, int(config.max_position_embeddings))
    except FAULTS as error:
        raise ModelError(
            f"the config's rope_parameters cannot be read: {reason(error)}", where=where
        ) from error
    bounds = Bounds(int(config.vocab_size), limit)
    bounds.check_length(longest, where)
    return bounds


def _window(config: Any) -> int | None:
    """The sliding window that some layer uses, in tokens."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if window is None or (kinds is not None and "sliding_attention" not in kinds):
        return None
    return int(window)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers without progress bars and notices, put back afterwards."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

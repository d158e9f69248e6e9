"""A model opened through transformers: frozen, in eval mode, with a backbone and a head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from backends import model_files
from backends.contract import Choice, ModelInfo, ModelSpec
from backends.errors import ModelError
from backends.torch import choices

FAMILIES = {
    "llama": "Llama",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "mistral": "Mistral",
    "gemma3_text": "Gemma 3 (text)",
    "phi3": "Phi-3",
}


@dataclass(frozen=True)
class Opened:
    """`model` is a transformers causal language model; `name` is how files that travel call it."""

    model: Any
    folder: Path
    name: str
    info: ModelInfo
    choices: tuple[Choice, ...]

    @property
    def device(self) -> Any:
        return torch.device(self.info.device)

    def hidden(self, ids: Any, **settings: Any) -> Any:
        """Last hidden states [rows, width, hidden] of token ids [rows, width]."""
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
    """Open the folder or hub id of `spec`. Raises ModelError or BackendUnavailable."""
    folder = model_files.resolve(spec.path, spec.revision)
    raw = model_files.read_config(folder)
    family = model_files.served(raw, FAMILIES, "torch", folder)
    with _quiet():
        config = _config(folder, raw)
        device = choices.device(spec)
        dtype = choices.dtype(spec, device.name)
        attention = choices.attention(spec, config, device.name, dtype.name)
        model = _load(folder, config, choices.DTYPES[dtype.name], attention.name)
    model.to(device.name)
    model.eval()
    model.requires_grad_(False)
    info = ModelInfo(
        family=family,
        layers=int(config.num_hidden_layers),
        hidden=int(config.hidden_size),
        vocabulary=int(config.vocab_size),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=dtype.name,
        device=device.name,
        window=_window(config),
        tied=model.get_output_embeddings().weight is model.get_input_embeddings().weight,
    )
    name = model_files.name_of(spec.path)
    return Opened(model, folder, name, info, (device, dtype, attention))


def _config(folder: Path, raw: dict[str, Any]) -> Any:
    where = str(folder / "config.json")
    if raw.get("quantization_config"):
        raise ModelError(
            "the model is stored quantized, which this backend does not open",
            where=where,
            hint="open the unquantized model",
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise ModelError(f"transformers cannot read the config: {error}", where=where) from error
    if getattr(config, "use_bidirectional_attention", False):
        raise ModelError("the model attends to later tokens: it is no causal one", where=where)
    return config


def _load(folder: Path, config: Any, dtype: Any, attention: str) -> Any:
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(f"transformers cannot open it: {error}", where=str(folder)) from error
    _refuse_misfit(loading, folder)
    return model


def _refuse_misfit(loading: dict[str, Any], folder: Path) -> None:
    """transformers would fill what is missing with random numbers, and drop what is unknown."""
    faults = []
    for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        # Checkpoints of 2023 carry the rotary frequencies, which follow from the config.
        names = sorted(str(k) for k in loading.get(kind, ()) if not str(k).endswith("inv_freq"))
        if names:
            faults.append(f"{kind.replace('_', ' ')}: {', '.join(names[:3])}")
    if faults:
        raise ModelError(
            f"the weights do not fit the config ({'; '.join(faults)})", where=str(folder)
        )


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

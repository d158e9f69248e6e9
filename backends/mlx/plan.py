"""What a checkpoint's config asks for, and whether mlx-lm's layers can give exactly that.

transformers' own configuration classes fill in the defaults, so that what is computed here is
what transformers would compute; whatever mlx-lm's layers leave out is refused with its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from backends import text_part
from backends.bounds import Bounds, rotary_limit
from backends.deferred import FRAMEWORK, NO_DTYPE, deferred, uncollected
from backends.errors import FAULTS, ModelError, reason
from backends.mlx.rope import Rotation, rotation
from backends.model_files import check_sizes, read_config, served
from backends.packed_files import KEYS, Packing, packing

FAMILIES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3_text": "gemma3_text",
    "phi3": "phi3",
}
"""Family -> the module of mlx_lm.models whose layers compute it."""

FLOATS = ("float32", "float16", "bfloat16", "float64")

_CONFIG_FAULTS: tuple[type[Exception], ...] = (*FAULTS, StrictDataclassError)

FULL, SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class Plan:
    """`kinds`: each layer's attention. `rotations`: by kind. `window`: of the sliding layers, in
    tokens. `embed_scale` multiplies embeddings, `softcap` bounds logits, `limit` the row length;
    `packing`: how the files hold the weights, None where they are plain."""

    family: str
    settings: dict[str, Any]
    kinds: tuple[str, ...]
    rotations: dict[str, Rotation]
    window: int | None
    embed_scale: float | None
    softcap: float | None
    tied: bool
    limit: int | None
    packing: Packing | None = None


def read_plan(folder: Path, longest: int) -> Plan:
    """Raises ModelError where the model would be computed otherwise than it was trained."""
    raw = read_config(folder)
    family = served(raw, FAMILIES, "mlx", folder)
    where = str(folder / "config.json")
    _check_dtype(raw, where)
    packed = packing(raw, where)
    if packed is not None:
        packed.check_library("mlx-lm", "mlx", where)
    settings = _normalised(folder, where)
    _refuse(family, settings, where)
    try:
        kinds = _kinds(family, settings, where)
        rotations = _rotations(family, settings, kinds, where)
        positions = int(settings["max_position_embeddings"])
        limit = rotary_limit(settings["rope_parameters"], positions)
    except FAULTS as error:
        raise ModelError(f"the config cannot be read: {reason(error)}", where=where) from error
    Bounds(int(settings["vocab_size"]), limit).check_length(longest, where)
    gemma = family == "gemma3_text"
    return Plan(
        family=family,
        settings=settings,
        kinds=kinds,
        rotations=rotations,
        window=settings.get("sliding_window") if SLIDING in kinds else None,
        embed_scale=float(settings["hidden_size"]) ** 0.5 if gemma else None,
        softcap=settings.get("final_logit_softcapping") if gemma else None,
        tied=bool(settings["tie_word_embeddings"]),
        limit=limit,
        packing=packed,
    )


def _check_dtype(raw: dict[str, Any], where: str) -> None:
    """transformers would, but only by importing PyTorch."""
    told = raw.get("dtype") or raw.get("torch_dtype") or "float32"
    if told not in FLOATS:
        raise ModelError(f"the config names an unknown dtype `{told}`", where=where)


def _normalised(folder: Path, where: str) -> dict[str, Any]:
    """The config with transformers' defaults, old keys moved to their new places."""
    with deferred(*FRAMEWORK), uncollected():
        from transformers import AutoConfig
        from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what it has to say about a config is said here
    try:
        with deferred(*FRAMEWORK), uncollected():  # the family's own modules are imported here
            whole = AutoConfig.from_pretrained(folder, local_files_only=True, **NO_DTYPE)
            config = text_part.config_of(whole, AutoConfig.for_model)
        settings = config.to_dict()
    except _CONFIG_FAULTS as error:
        raise ModelError(
            f"transformers refuses the model's config: {reason(error)}", where=where
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    check_sizes(settings, where)
    heads = settings["num_attention_heads"]
    settings["num_key_value_heads"] = settings.get("num_key_value_heads") or heads
    settings["head_dim"] = settings.get("head_dim") or settings["hidden_size"] // heads
    return {key: value for key, value in settings.items() if key not in KEYS}


def _kinds(family: str, settings: dict[str, Any], where: str) -> tuple[str, ...]:
    layers = int(settings["num_hidden_layers"])
    if family == "llama":
        return (FULL,) * layers
    if family in {"mistral", "phi3"}:
        return (SLIDING if settings.get("sliding_window") else FULL,) * layers
    kinds = tuple(settings["layer_types"])
    strange = sorted(set(kinds) - {FULL, SLIDING})
    if strange or len(kinds) != layers:
        raise ModelError(f"layer_types are not understood: {strange or len(kinds)}", where=where)
    return kinds


def _rotations(
    family: str, settings: dict[str, Any], kinds: tuple[str, ...], where: str
) -> dict[str, Rotation]:
    nested = settings["rope_parameters"]
    found = {}
    for kind in sorted(set(kinds)):
        own = nested[kind] if family == "gemma3_text" else nested
        partial = float(own.get("partial_rotary_factor") or 1.0)
        if partial != 1.0 and family != "phi3":
            raise ModelError(
                f"`{family}` with partial_rotary_factor {partial} is not served by mlx", where=where
            )
        dims = int(settings["head_dim"] * partial)
        found[kind] = rotation(own, dims, int(settings["max_position_embeddings"]), where)
    return found


Fault = Callable[[dict[str, Any]], bool]

_ACTIVATION = {"gemma3_text": "gelu_pytorch_tanh"}
_REFUSED: tuple[tuple[tuple[str, ...], str, Fault], ...] = (
    (("qwen3", "gemma3_text"), "attention_bias", lambda c: bool(c.get("attention_bias"))),
    (("gemma3_text",), "attn_logit_softcapping", lambda c: bool(c["attn_logit_softcapping"])),
    (("gemma3_text",), "bidirectional attention", lambda c: bool(c["use_bidirectional_attention"])),
    (
        ("qwen2", "phi3"),
        "a head_dim other than hidden_size / num_attention_heads",
        lambda c: c["head_dim"] * c["num_attention_heads"] != c["hidden_size"],
    ),
)


def _refuse(family: str, settings: dict[str, Any], where: str) -> None:
    faults = [what for names, what, at in _REFUSED if family in names and at(settings)]
    wanted = _ACTIVATION.get(family, "silu")
    given = settings.get("hidden_activation") or settings.get("hidden_act")
    if given != wanted:
        faults.append(f"the activation `{given}` (it has `{wanted}`)")
    if faults:
        raise ModelError(
            f"the mlx backend computes `{family}` without: {'; '.join(dict.fromkeys(faults))}",
            where=where,
            hint="use `--backend torch`",
        )

"""The text part of a vision-language model, where it is a model of its own.

Its configuration lies within the whole's, its tensors under a name of their own beside those of the
other parts. Without pictures it computes what the whole computes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from backends.errors import ModelError

ALONE = {
    "gemma3_text": "gemma3_text",
    "llama": "llama",
    "mistral": "mistral",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3": "qwen3",
    "qwen3_vl_text": "qwen3",
}
"""`model_type` of a text part -> the family that it is one of. The positions of Qwen's have three
parts, which are the same without pictures: then they are a plain rotation."""

MULTIPLE = ("mrope_section", "mrope_interleaved")
"""What tells Qwen's rotation how to part its positions."""
WHOSE = ("model_type", "architectures", "_name_or_path", "dtype", "torch_dtype")
"""What a configuration says of the files and classes that it belongs to."""
STYLES = (
    {"model.language_model.": "model.", "lm_head.": "lm_head."},
    {"language_model.model.": "model.", "language_model.lm_head.": "lm_head."},
    {"model.": "model.", "lm_head.": "lm_head."},
)
"""How files name the text part, and how a model of its own does; the first that fits holds."""
OWN = ("model.embed_tokens.", "model.layers.", "model.norm.", "lm_head.")


def kind(config: Mapping[str, Any]) -> str | None:
    """The family of the text part; None of a model that has no other part."""
    inner = config.get("text_config")
    if not isinstance(inner, dict):
        return None
    told = str(inner.get("model_type", ""))
    return ALONE.get(told, told or "unnamed")


def check(config: Mapping[str, Any], families: Iterable[str], backend: str, where: str) -> str:
    """The family, seen to be one that `backend` serves. Raises ModelError."""
    family, known = kind(config), sorted(families)
    if family in known:
        return family
    whole = str(config.get("model_type", ""))[:80]
    inner = "".join(char if char.isprintable() else "?" for char in str(family)[:80])
    raise ModelError(
        f"the text part of `{whole}`, which is `{inner}`, cannot be trained alone on the {backend} "
        "backend",
        where=where,
        hint=f"text parts that can be are of: {', '.join(known)}",
    )


def settings(whole: Any) -> dict[str, Any]:
    """Of the text part as a model of its own. `whole`: the configuration as transformers makes it,
    with all defaults."""
    inner: dict[str, Any] = whole.get_text_config().to_dict()
    family = ALONE[inner["model_type"]]
    found = {key: value for key, value in inner.items() if key not in WHOSE}
    tied = getattr(whole, "tie_word_embeddings", None)
    if tied is not None:
        found["tie_word_embeddings"] = bool(tied)
    rope = found.get("rope_parameters")
    if isinstance(rope, dict):
        found["rope_parameters"] = {key: rope[key] for key in rope if key not in MULTIPLE}
        if found["rope_parameters"].get("rope_type") in ("mrope", None):
            found["rope_parameters"]["rope_type"] = "default"
    return {**found, "model_type": family}


def config_of(whole: Any, make: Callable[..., Any]) -> Any:
    """The same as a configuration; `make` is transformers' `AutoConfig.for_model`. What is no text
    part's is given back as it is."""
    if not hasattr(whole, "text_config"):
        return whole
    return make(**settings(whole))


def own_names(names: Iterable[str]) -> dict[str, str]:
    """Name in a model of its own -> name in the files; other parts' tensors are left out."""
    held, found = list(names), dict[str, str]()
    style = _style(held)
    for name in held:
        for theirs, ours in style.items():
            own = ours + name.removeprefix(theirs)
            if name.startswith(theirs) and own.startswith(OWN):
                found[own] = name
    return found


def renaming(names: Iterable[str]) -> dict[str, str]:
    """The same as patterns, as transformers takes them."""
    style = _style(list(names))
    return {f"^{re.escape(theirs)}": ours for theirs, ours in style.items() if theirs != ours}


def _style(held: list[str]) -> dict[str, str]:
    known = (one for one in STYLES if any(name.startswith(next(iter(one))) for name in held))
    return next(known, STYLES[-1])

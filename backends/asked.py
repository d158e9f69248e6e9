"""Whether a ModelSpec asks for things that exist, whatever its types promise."""

from __future__ import annotations

import difflib
from typing import Any, get_args, get_type_hints

from backends.contract import ModelSpec
from backends.errors import ModelError

_KEYS = {
    "dtype": "model.dtype",
    "device": "--device",
    "attention": "model.attention",
    "quantization": "model.quantization",
}


def check_spec(spec: ModelSpec) -> None:
    """Raises ModelError for a dtype, device, attention or quantization that the contract does not
    name."""
    kinds: dict[str, Any] = get_type_hints(ModelSpec)
    for field, where in _KEYS.items():
        given, known = getattr(spec, field), get_args(kinds[field])
        if given not in known:
            near = difflib.get_close_matches(str(given), known, n=1)
            guess = f"did you mean `{near[0]}`? " if near else ""
            raise ModelError(
                f"there is no {field} `{given}`",
                where=where,
                hint=f"{guess}use one of: {', '.join(known)}",
            )

"""What can be exported, what was asked for, and what came of it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field

from mindprint.errors import ConfigError
from mindprint.export.checked import Checked
from mindprint.export.exact import Ground
from mindprint.export.witness import Framework
from mindprint.report.scores import Frozen

DType = Literal["auto", "float32", "bfloat16", "float16"]
Kind = Literal["lora", "dora", "lslora"]
DTYPES: tuple[DType, ...] = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Asked:
    """`rank`: of an adapter, None for the exact one; `dtype`: of a model's weights, `auto` as the
    base has them; `quantize`: bits; `least_squares`: a line in the place of each spline of an
    LS-LoRA."""

    to: str
    rank: int | None = None
    dtype: DType = "auto"
    quantize: int | None = None
    least_squares: bool = False


class Made(Frozen):
    """What was written. `dtype`: of its weights; `kind`, `rank`: of an adapter; `weight_error`:
    norm of what was lost to rounding (or cut off by `--rank`) over the norm of the change, on the
    weights; `layers`: how many are changed. `notes`: what is to be said of it; `figures`: what a
    form measured besides, fit for JSON."""

    form: str
    dtype: str
    kind: Kind | None = None
    rank: int | None = None
    quantize: int | None = None
    weight_error: float = 0.0
    layers: int = 0
    notes: tuple[str, ...] = ()
    figures: dict[str, Any] = Field(default_factory=dict)


Done = tuple[Made, Checked]
Write = Callable[[Ground, Asked, Path], Done]
"""Writes a form into an empty folder and verifies it there. Raises ExportRefused."""


@dataclass(frozen=True)
class Form:
    """`write`: where its function is. `options`: those of Asked that it has. `model`: whether it is
    a whole model, and not an adapter. `opened`: the libraries that it is opened with."""

    write: str
    options: frozenset[str]
    model: bool
    opened: tuple[Framework, ...]


ADAPTER, MODEL = frozenset({"rank"}), frozenset({"dtype"})
BOTH: tuple[Framework, ...] = ("transformers", "mlx-lm")
FORMS = {
    "adapter": Form("mindprint.export.adapter:write", ADAPTER, False, ("peft",)),
    "mlx-adapter": Form("mindprint.export.mlx_adapter:write", ADAPTER, False, ("mlx-lm",)),
    "merged": Form("mindprint.export.merged:write", MODEL, True, BOTH),
    "mlx": Form("mindprint.export.mlx:export_mlx", MODEL | {"quantize"}, True, ("mlx-lm",)),
    "ollama": Form("mindprint.export.ollama:export_ollama", MODEL, True, BOTH),
}
BITS = (4, 8)


def over_packed(quantization: str, checked_over: str) -> str:
    """The note on an adapter whose base was quantized. `checked_over`: what it was checked over."""
    return (
        f"it was trained over the base's weights as they are quantized ({quantization}), and is "
        f"checked over {checked_over}; over the base in full precision it is another model"
    )


def check(asked: Asked, unverified: Sequence[str] = ()) -> None:
    """Raises ConfigError for a form that is none, and for options that have no part in it.
    `unverified`: libraries that it is not to be opened with."""
    if asked.to not in FORMS:
        raise _unknown(f"there is no form `{asked.to}`", "--to", asked.to, FORMS)
    if asked.dtype not in DTYPES:
        raise _unknown(f"there is no dtype `{asked.dtype}`", "--dtype", asked.dtype, DTYPES)
    _check_options(asked)
    if asked.quantize not in (None, *BITS):
        what = f"cannot quantize to {asked.quantize} bits"
        raise ConfigError(what, where="--quantize", hint="use 4 or 8")
    for library in unverified:
        known = FORMS[asked.to].opened
        if library not in known:
            what = f"`--to {asked.to}` is not opened with `{library}`"
            raise _unknown(what, "--unverified", library, known)


def writer(form: str) -> Write:
    module, _, name = FORMS[form].write.partition(":")
    return cast(Write, getattr(import_module(module), name))


def _check_options(asked: Asked) -> None:
    given = {name for name in ("rank", "quantize") if getattr(asked, name) is not None}
    given |= {"dtype"} if asked.dtype != "auto" else set()
    for name in sorted(given - FORMS[asked.to].options):
        forms = [form for form, one in FORMS.items() if name in one.options]
        raise ConfigError(
            f"`--{name}` has no part in `--to {asked.to}`",
            where=f"--{name}",
            hint=f"it is for: {', '.join(forms)}; leave it out",
        )


def _unknown(what: str, where: str, given: str, known: Iterable[str]) -> ConfigError:
    near = difflib.get_close_matches(given, list(known), n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    return ConfigError(what, where=where, hint=f"{guess}use one of: {', '.join(known)}")

"""How far two sides are apart, and the bars that must not be passed."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backends.contract import Params
from backends.errors import ModelError
from side_by_side.architectures import Architecture, Kind
from side_by_side.lessons import Lessons, draw
from side_by_side.side import Side, go, logprobs, native, opened, trl


@dataclass(frozen=True)
class Bar:
    """A figure's name in JSON, its heading, and the value that it may not pass: the most, or with
    `least` the least."""

    key: str
    title: str
    value: float
    least: bool = False

    def met(self, figure: float) -> bool:
        """A figure that is no number meets nothing."""
        return figure >= self.value if self.least else figure <= self.value


BARS = (
    Bar("sft_loss", "SFT loss", 1e-5),
    Bar("dpo_loss", "DPO loss", 1e-4),
    Bar("sft_adapter", "SFT adapter", 1e-3),
    Bar("dpo_adapter", "DPO adapter", 1e-3),
    Bar("token_before", "token, before", 1e-4),
    Bar("token_after", "token, after", 1e-3),
    Bar("answers", "answers", 0.99, least=True),
    Bar("trl_sft_loss", "TRL, SFT", 1e-4),
    Bar("trl_dpo_loss", "TRL, DPO", 1e-4),
)


@dataclass(frozen=True)
class Measured:
    """One model. `figures` by the bars' keys; `fell`: first and last losses of SFT and DPO, so that
    agreement in standing still is not taken for more; `windowless`: the largest change of a token's
    log-probability when the sliding window is left out, None where there is none; `refused`: what a
    backend said that would not compute the model; `served`: what did each side's products."""

    name: str
    tied: bool
    frozen: bool
    parameters: int
    figures: dict[str, float]
    fell: tuple[float, ...] = ()
    windowless: float | None = None
    refused: str = ""
    served: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    kind: Kind = "lora"

    @property
    def title(self) -> str:
        return Architecture(self.name, self.tied, self.frozen, self.kind).title

    @property
    def missed(self) -> list[str]:
        """Bars that are not kept to, in words."""
        return [
            f"{bar.title} {self.figures[bar.key]:.2g}, bar {bar.value:g}"
            for bar in BARS
            if bar.key in self.figures and not bar.met(self.figures[bar.key])
        ]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "missed": self.missed}


def measure(made: Architecture, steps: int, with_trl: bool) -> Measured:
    """Both stages on both backends, and on PyTorch through TRL, whose trainers would leave out the
    penalty of LS-LoRA and take it at one rate. Raises BackendUnavailable."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as made_in:
        folder = Path(made_in) / "model"
        parameters = made.make(folder)
        lessons = draw()
        torch = go("torch", folder, made, lessons, steps, native)
        try:
            mlx = go("mlx", folder, made, lessons, steps, native)
        except ModelError as error:
            told = f"mlx: {error.what}"
            return Measured(
                made.name, made.tied, made.frozen, parameters, {}, refused=told, kind=made.kind
            )
        figures = compared(torch, mlx)
        if with_trl and made.kind != "lslora":
            figures |= witnessed(torch, go("torch", folder, made, lessons, steps, trl))
        return Measured(
            name=made.name,
            tied=made.tied,
            frozen=made.frozen,
            kind=made.kind,
            parameters=parameters,
            figures=figures,
            fell=tuple(
                float(stage.losses[place]) for stage in (torch.sft, torch.dpo) for place in (0, -1)
            ),
            served={"PyTorch": torch.served, "MLX": mlx.served},
            windowless=_windowless(made, Path(made_in) / "wide", torch, lessons),
            seconds=round(time.perf_counter() - started, 1),
        )


def compared(wanted: Side, found: Side) -> dict[str, float]:
    """Losses: SFT's over itself, DPO's over itself or 0.1. Adapters: over the norm of the stage's
    update. Tokens: in nats. Answers: the share of positions that hold the same token."""
    sft, dpo = wanted.sft.losses, wanted.dpo.losses
    before, after = (
        float(np.abs(one - other).max())
        for one, other in zip(wanted.tokens, found.tokens, strict=True)
    )
    return {
        "sft_loss": float((np.abs(found.sft.losses - sft) / sft).max()),
        "dpo_loss": float((np.abs(found.dpo.losses - dpo) / np.maximum(dpo, 0.1)).max()),
        "sft_adapter": distance(wanted.sft.update, found.sft.update),
        "dpo_adapter": distance(wanted.dpo.update, found.dpo.update),
        "token_before": before,
        "token_after": after,
        "answers": same_positions(wanted.answers, found.answers),
    }


def witnessed(native: Side, trl: Side) -> dict[str, float]:
    """The largest difference of a step's loss."""
    return {
        "trl_sft_loss": float(np.abs(native.sft.losses - trl.sft.losses).max()),
        "trl_dpo_loss": float(np.abs(native.dpo.losses - trl.dpo.losses).max()),
    }


def distance(wanted: Params, found: Params) -> float:
    """Norm of the difference over the norm of `wanted`, all tensors together, in float64."""
    apart = {name: array.astype(np.float64) - found[name] for name, array in wanted.items()}
    return _norm(apart) / _norm(wanted)


def same_positions(
    wanted: tuple[tuple[int, ...], ...], found: tuple[tuple[int, ...], ...]
) -> float:
    pairs = [
        pair
        for one, other in zip(wanted, found, strict=True)
        for pair in zip(one, other, strict=True)
    ]
    return sum(one == other for one, other in pairs) / len(pairs)


def _norm(tensors: dict[str, Any]) -> float:
    return float(
        sum(np.square(array.astype(np.float64)).sum() for array in tensors.values()) ** 0.5
    )


def _windowless(made: Architecture, folder: Path, torch: Side, lessons: Lessons) -> float | None:
    """That the probes are longer than the window would show: the same weights without it."""
    if not made.slides:
        return None
    made.make(folder, **made.without_window())
    session = opened("torch", folder)
    try:
        return float(np.abs(logprobs(session, lessons) - torch.tokens[0]).max())
    finally:
        session.close()

"""What is compared with what: mindprint's side first, then its peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

KINDS = ("sft", "dpo", "prefix", "answers", "topic")
BACKENDS = ("torch", "mlx")
DEVICES = {"torch": ("cpu", "cuda", "mps"), "mlx": ("cpu", "gpu")}
INSTALL = "pip install -e '.[bench]'"


@dataclass(frozen=True)
class Side:
    """A worker under `timing.sides`, with what is different in its spec. `losses`: a peer's, that
    it tells each step's and that they can be equal to mindprint's."""

    name: str
    module: str
    changes: dict[str, Any] = field(default_factory=dict)
    losses: bool = False


@dataclass(frozen=True)
class Comparison:
    """`sides`: mindprint first. `needs`: packages that the peers are made of."""

    kind: str
    backend: str
    sides: tuple[Side, ...]
    needs: tuple[str, ...]

    @property
    def trains(self) -> str:
        """What a spec calls this kind of work."""
        return "dpo" if self.kind == "prefix" else self.kind


TRAIN = Side("mindprint", "mindprint_train")
ANSWERS = Side("mindprint", "mindprint_answers")
TOPIC = Side("mindprint", "mindprint_topic")
PREFIX = (TRAIN, Side("each row whole", "mindprint_train", {"options": {"sharing": False}}))
TRL_SIDE = Side("TRL", "trl_train", losses=True)
PRECOMPUTED = {"reference": "precomputed"}
TRL = ("trl", "peft", "datasets")

COMPARISONS = (
    Comparison("sft", "torch", (TRAIN, TRL_SIDE), TRL),
    Comparison("sft", "mlx", (TRAIN, Side("mlx-lm", "mlx_lm_sft")), ("mlx-lm",)),
    Comparison(
        "dpo",
        "torch",
        (
            TRAIN,
            TRL_SIDE,
            replace(TRL_SIDE, name="TRL, reference precomputed", changes=PRECOMPUTED),
        ),
        TRL,
    ),
    Comparison(
        "dpo", "mlx", (TRAIN, Side("mlx-lm-lora", "mlx_lm_lora_dpo")), ("mlx-lm", "mlx-lm-lora")
    ),
    Comparison("prefix", "torch", PREFIX, ()),
    Comparison("prefix", "mlx", PREFIX, ()),
    Comparison("answers", "torch", (ANSWERS, Side("model.generate", "transformers_answers")), ()),
    Comparison("answers", "mlx", (ANSWERS, Side("mlx_lm.generate", "mlx_lm_answers")), ("mlx-lm",)),
    Comparison("topic", "torch", (TOPIC, Side("TRL, model.generate", "peer_topic_torch")), TRL),
    Comparison(
        "topic",
        "mlx",
        (TOPIC, Side("mlx-lm, mlx-lm-lora", "peer_topic_mlx")),
        ("mlx-lm", "mlx-lm-lora"),
    ),
)


def chosen(kinds: Sequence[str], backends: Sequence[str]) -> list[Comparison]:
    return [one for one in COMPARISONS if one.kind in kinds and one.backend in backends]


def missing(wanted: Sequence[Comparison]) -> list[str]:
    """Packages that the peers of `wanted` are made of and that are not installed."""
    named = dict.fromkeys(name for one in wanted for name in one.needs)
    return [name for name in named if not installed(name)]


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True

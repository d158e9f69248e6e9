"""Who takes the steps of a stage: mindprint's own loop, or an engine that takes stages whole."""

from __future__ import annotations

import shlex
from typing import Any

from backends.contract import Choice
from mindprint.adapter import foreign, written
from mindprint.config import Config, Resolved, flatten
from mindprint.errors import ConfigError

KEY = "run.engine"
BACKEND = {"trl": "torch"}
"""Which backend's sessions an engine trains."""

WHOLE: dict[str, tuple[Any, str]] = {
    "run.on_oom": ("stop", "a stage that is taken whole cannot go on in smaller batches"),
    "run.checkpoint_every": (
        Config().run.checkpoint_every,
        "nothing is saved within a stage that is taken whole",
    ),
    "strategy.name": ("sequential", "a strategy takes its steps one at a time"),
}
"""The only values that go with an engine, and why. Held against the value, not against who named
it: a fork keeps what its run was told, and can only be told another value."""


def backend_of(resolved: Resolved, named: str) -> str:
    """`named`, or for `auto` the backend that the engine needs. Raises ConfigError for another."""
    engine = resolved.config.run.engine
    needed = BACKEND.get(engine, named)
    if named in ("auto", needed):
        return needed
    raise ConfigError(
        f"`{KEY}: {engine}` runs on {needed}, not on {named}",
        where="--backend",
        hint=f"use `--backend {needed}`, or the engine `native`",
    )


def chosen(resolved: Resolved) -> Choice:
    """The engine and why, as the plan and the result tell it."""
    named = resolved.origins.get(KEY)
    why = f"named by {named}" if named else "mindprint's own loop: every step can be gone on from"
    return Choice(resolved.config.run.engine, because=why, key="engine")


def check_engine(resolved: Resolved) -> None:
    """Raises ConfigError with every setting that does not go with the engine."""
    config = resolved.config
    engine = config.run.engine
    if engine == "native":
        return
    values = dict(flatten(config.model_dump()))
    odd = {key: only for key, (only, _) in WHOLE.items() if values[key] != only}
    faults = {f"{key}: {values[key]}": WHOLE[key][1] for key in odd}
    if config.dpo.loss == "ipo" and config.dpo.when != "never":
        odd["dpo.loss"] = "sigmoid"
        faults["dpo.loss: ipo"] = "TRL's ipo divides each log-ratio by its answer's tokens"
    if config.adapter.kind == "lslora":
        odd["adapter.kind"] = "lora"
        beside = foreign(config.adapter)
        odd |= {f"adapter.{name}": written(value) for name, value in beside.items()}
        faults["adapter.kind: lslora"] = (
            "TRL's trainers minimise no penalty on its spline, and know no rate of its own"
        )
    if config.model.gradient_checkpointing == "on":
        odd["model.gradient_checkpointing"] = "off"
        faults["model.gradient_checkpointing: on"] = "TRL's trainers compute every activation once"
    if faults:
        told = "; ".join(f"`{setting}` ({why})" for setting, why in faults.items())
        words = shlex.join(word for key in odd for word in ("--set", f"{key}={odd[key]}"))
        raise ConfigError(
            f"`{KEY}: {engine}` does not go with {told}",
            where=resolved.origins.get(KEY, KEY),
            hint=f"use `{words}`, or the engine `native`",
        )

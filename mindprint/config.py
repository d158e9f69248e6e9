"""Every setting of a run: one strict model, one place for defaults, each value with its origin."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mindprint.accepted import kind, limits
from mindprint.errors import ConfigError

Value = str | int | float | bool | None | tuple[str, ...] | tuple[float, ...]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Schedule = Literal["cosine", "linear", "constant"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class ModelSection(Section):
    path: str | None = Field(None, description="folder or hub id of the base model")
    revision: str | None = Field(None, description="hub revision to pin")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="weights: float32 on the CPU, bfloat16 on Metal and CUDA"
    )
    quantization: Literal["none", "4bit", "8bit"] = Field(
        "none", description="weights packed as they are opened; a model that is packed opens so"
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        "auto", description="attention implementation; auto says which and why"
    )
    enable_thinking: bool = Field(
        False, description="let a template that knows `enable_thinking` open a thinking part"
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="activations computed again on the way back (auto = where memory needs it)",
    )


class AdapterSection(Section):
    kind: Literal["lora", "dora", "lslora"] = Field(
        "lora", description="LoRA; DoRA, with a magnitude for each output; LS-LoRA, with a spline"
    )
    rank: Positive = Field(16, description="width of the two factors of every adapted layer")
    alpha: Rate = Field(32.0, description="the factor on the adapter is alpha/rank")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="layers to adapt: all-linear, or a list of module names"
    )
    scaling: Literal["standard", "rslora"] = Field(
        "standard", description="alpha/rank, or alpha/sqrt(rank) with rslora"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of a layer's inputs dropped while SFT trains the adapter"
    )
    knots: Annotated[int, Field(ge=3)] = Field(
        5, description="of LS-LoRA's spline, evenly spaced; one of them is at 0"
    )
    grid: tuple[Finite, Finite] = Field((-3.0, 3.0), description="its first and its last knot")
    interpolation: Literal["piecewise", "soft"] = Field(
        "piecewise", description="how the spline is found between its knots"
    )
    outside: Literal["linear", "clamp"] = Field(
        "linear", description="it keeps beyond its grid its slope, or its last step from identity"
    )
    identity_penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.01, description="weight of the spline's mean squared distance from the identity"
    )
    spline_rate: Rate = Field(
        1.0, description="what the learning rate of the spline and its scales is multiplied by"
    )


class SftSection(Section):
    epochs: Positive = Field(3, description="passes over a topic's rows; a retry adds as many")
    batch_size: Positive = Field(4, description="rows that go through the model at once")
    accumulate: Positive = Field(1, description="batches in one optimizer step")
    learning_rate: Rate = Field(2e-4, description="the schedule's peak")
    schedule: Schedule = Field("cosine", description="how the learning rate falls")
    warmup_ratio: Share = Field(0.03, description="share of the steps over which it rises")
    max_tokens: Annotated[int, Field(ge=8)] = Field(1024, description="longer rows are cut")
    max_grad_norm: Rate = Field(1.0, description="a longer gradient is shortened to this norm")
    train_on: Literal["all", "last"] = Field("all", description="which assistant turns are trained")
    keep: Literal["best", "last"] = Field(
        "best", description="best epoch by held-out loss where a topic has 20+ rows"
    )


class DpoSection(Section):
    when: Literal["auto", "always", "never"] = Field(
        "auto", description="auto: accuracy passes its gate and voice does not"
    )
    pairs: Literal["file", "self", "both"] = Field(
        "file", description="preferences.jsonl, answers drawn from the model, or both"
    )
    adapter: Literal["continue", "new"] = Field(
        "continue", description="train the topic's adapter on, or a new one over it"
    )
    rank: Positive | None = Field(None, description="rank of a new adapter; adapter.rank if unset")
    targets: Literal["all-linear"] | tuple[str, ...] | None = Field(
        None, description="targets of a new adapter; adapter.targets if unset"
    )
    learning_rate: Rate = Field(1e-5, description="the schedule's peak")
    beta: Rate = Field(0.1, description="how strongly the reference holds the policy back")
    sft_weight: Annotated[float, Field(ge=0)] = Field(
        0.2, description="weight of the chosen answer's loss per token"
    )
    epochs: Positive = Field(1, description="passes over the pairs; a retry adds as many")
    batch_size: Positive = Field(2, description="pairs that go through the model at once")
    accumulate: Positive = Field(1, description="batches in one optimizer step")
    schedule: Schedule = Field("cosine", description="how the learning rate falls")
    warmup_ratio: Share = Field(0.03, description="share of the steps over which it rises")
    max_grad_norm: Rate = Field(1.0, description="a longer gradient is shortened to this norm")
    loss: Literal["sigmoid", "ipo", "hinge", "length-normalised"] = Field(
        "sigmoid", description="what is asked of the margin between chosen and rejected"
    )


class StrategySection(Section):
    name: Literal["sequential"] = Field("sequential", description="how the past is protected")


class GateSection(Section):
    accuracy: Share = Field(0.70, description="a topic passes from this accuracy on ...")
    voice: Share = Field(0.75, description="... if its voice is at least this")
    retries: Count = Field(2, description="further attempts at a topic, each with more epochs")
    rollback: bool = Field(True, description="undo a stage that did harm")


class EvalSection(Section):
    max_tokens: Positive = Field(128, description="longest answer to a quiz question")
    retention: Literal["full", "sample", "off"] = Field(
        "sample", description="how much of the earlier topics is asked again after each stage"
    )
    prompts: Annotated[int, Field(ge=40)] = Field(
        60, description="open prompts asked at most for the voice; it takes 40 to calibrate"
    )
    few_shot: Count = Field(
        4, description="training rows shown to the base as a baseline to beat; 0 leaves it out"
    )
    resamples: Annotated[int, Field(ge=200)] = Field(
        2000, description="bootstrap resamples behind every interval"
    )
    embedder: str | None = Field(
        None, description="folder of a sentence-transformers model: one more family of the voice"
    )


class RunSection(Section):
    seed: Count = Field(42, description="order of rows, initial adapters, held-out rows, draws")
    checkpoint_every: Positive = Field(200, description="optimizer steps between checkpoints")
    on_oom: Literal["stop", "shrink"] = Field(
        "stop", description="shrink halves the batch and keeps the effective batch"
    )
    memory_check: Literal["refuse", "warn"] = Field(
        "refuse", description="what becomes of a run that is estimated not to fit in memory"
    )
    cache: bool = Field(
        True, description="find again what the same model was asked before, in whichever run"
    )
    engine: Literal["native", "trl"] = Field(
        "native", description="who takes the steps: mindprint's own loop, or TRL's trainers (torch)"
    )


class Config(Section):
    """All keys of DESIGN's table, with their defaults."""

    model: ModelSection = ModelSection()
    adapter: AdapterSection = AdapterSection()
    handoff: Literal["auto", "stack", "merge", "continue"] = Field(
        "auto", description="how learned topics are carried while later ones train"
    )
    sft: SftSection = SftSection()
    dpo: DpoSection = DpoSection()
    strategy: StrategySection = StrategySection()
    gate: GateSection = GateSection()
    eval: EvalSection = EvalSection()
    run: RunSection = RunSection()


class Resolved(BaseModel):
    """A configuration and, for each dotted key, where its value came from."""

    model_config = ConfigDict(frozen=True)
    config: Config
    origins: dict[str, str]

    def listing(self) -> dict[str, tuple[Value, str]]:
        """Dotted key -> (value, origin), in the order of the sections."""
        return {
            key: (value, self.origins.get(key, "default"))
            for key, value in flatten(self.config.model_dump())
        }


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


KEYS = tuple(key for key, _ in flatten(Config().model_dump()))


def resolve(file: Path | None = None, settings: Sequence[str] = (), **flags: Value) -> Resolved:
    """Defaults, then the file, then `--set a.b=value`, then the command's own flags.

    `flags` use `__` for the dot (`model__path`); None means not given. Raises ConfigError that
    holds every fault found.
    """
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    faults: list[ConfigError] = []
    if file is not None:
        for key, value, line in _read(file):
            _put(tree, origins, faults, key, value, f"{file}:{line}")
    for setting in settings:
        key, value = _setting(setting)
        _put(tree, origins, faults, key, value, f"--set {setting}")
    for name, value in flags.items():
        if value is not None:
            key = name.replace("__", ".")
            _put(tree, origins, faults, key, value, f"--{key.rsplit('.', 1)[-1]}")
    config = _validated(tree, origins, faults)
    if faults or config is None:
        raise _together(faults)
    return Resolved(config=config, origins=origins)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(
            f"`--set {text}` has no value", where="--set", hint="write it as `--set sft.epochs=5`"
        )
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return key.strip(), YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise ConfigError(
            f"cannot read the value of `--set {text}`: {error}", where="--set"
        ) from error


def _read(file: Path) -> list[tuple[str, Any, int]]:
    """(dotted key, value, line) of a YAML file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML(typ="rt", pure=True).load(file.read_text("utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"not YAML: {error.problem}", where=f"{file}:{line}") from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(f"cannot read the configuration: {error}", where=str(file)) from error
    if tree is None:
        return []
    if not isinstance(tree, dict):
        raise ConfigError("a configuration is a mapping of keys", where=f"{file}:1")
    return list(_walk(tree, ""))


def _walk(tree: Any, prefix: str) -> Iterator[tuple[str, Any, int]]:
    for key, value in tree.items():
        line = tree.lc.key(key)[0] + 1
        dotted = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _walk(value, f"{dotted}.")
        else:
            yield dotted, list(value) if isinstance(value, list) else value, line


def _put(
    tree: dict[str, Any],
    origins: dict[str, str],
    faults: list[ConfigError],
    key: str,
    value: Any,
    origin: str,
) -> None:
    if key not in KEYS:
        sections = {known.split(".")[0] for known in KEYS if "." in known}
        if key in sections and value in (None, {}):
            return
        near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"the sections are: {', '.join(sections)}"
        faults.append(ConfigError(f"unknown key `{key}`", where=origin, hint=hint))
        return
    section, dot, leaf = key.partition(".")
    if dot:
        tree.setdefault(section, {})[leaf] = value
    else:
        tree[section] = value
    origins[key] = origin


def _validated(
    tree: dict[str, Any], origins: dict[str, str], faults: list[ConfigError]
) -> Config | None:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        seen = set()
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"][:2] if isinstance(part, str))
            key = key if key in KEYS else key.split(".")[0]
            if key in seen:
                continue
            seen.add(key)
            faults.append(
                ConfigError(
                    f"`{key}` cannot be {item['input']!r}",
                    where=origins.get(key, key),
                    hint=allowed(key),
                )
            )
        return None


def allowed(key: str) -> str:
    """What a key accepts, in words."""
    section, _, leaf = key.partition(".")
    field = Config.model_fields[section]
    if leaf and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        field = field.annotation.model_fields[leaf]
    extra = " or a list of module names" if leaf == "targets" else ""
    return f"`{key}` is {kind(field.annotation)}{extra}{limits(field.metadata)}"


def _together(faults: list[ConfigError]) -> ConfigError:
    if len(faults) == 1:
        return faults[0]
    what = f"{len(faults)} settings cannot be used: " + "; ".join(f.what for f in faults)
    return ConfigError(what, where=", ".join(f.where for f in faults), hint=faults[0].hint)

"""What `plan`, `train`, `demo` and `resume` do before anything is written: read, choose, plan."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backends.contract import Choice, ModelSpec, Session
from backends.engines import Engine
from mindprint.adapter import spec_of
from mindprint.cli.options import DEVICES
from mindprint.config import Config, Resolved, resolve
from mindprint.curriculum.records import Curriculum
from mindprint.errors import ConfigError
from mindprint.memory.outlook import Outlook
from mindprint.plan import Plan
from mindprint.tokens.render import Renderer


@dataclass(frozen=True)
class Material:
    """What a run is made of, found and read; `folder` is the model's. `dtype`: of the weights."""

    resolved: Resolved
    backend: Choice
    engine: Choice
    device: str
    curriculum: Curriculum
    folder: Path
    renderer: Renderer
    dtype: str

    @property
    def model(self) -> str:
        return str(self.resolved.config.model.path)

    def libraries(self) -> Mapping[str, str]:
        """Versions of the libraries of the backend, and of the engine's own."""
        from backends import get

        own = get(self.backend.name).availability().versions
        trainer = self.trainer()
        return own if trainer is None else {**own, **trainer.availability().versions}

    def trainer(self) -> Engine | None:
        """Who takes stages whole, or None where mindprint's own loop takes their steps."""
        from backends import engine

        return None if self.engine.name == "native" else engine(self.engine.name)


@dataclass(frozen=True)
class Prepared(Material):
    """All that a run needs, read and checked, with nothing written and no weights opened. `only`:
    what named its topics, () for all. `outlook`: what it takes in memory, once that was settled."""

    plan: Plan
    only: tuple[str, ...]
    outlook: Outlook | None = None

    def lines(self) -> list[tuple[str, str, str]]:
        """The header: what will run, on what, and why."""
        memory = [] if self.outlook is None else self.outlook.lines()
        return [("model", self.model, ""), *self.plan.lines(), *memory]


def configured(
    file: Path | None,
    settings: Sequence[str] | None,
    model: str | None,
    named_by: str = "--model",
    engine: str | None = None,
) -> Resolved:
    """The settings, with `model` on top as what `named_by` gave, and `engine` as `--engine`."""
    resolved = resolve(file, settings or (), model__path=model, run__engine=engine)
    if model is None:
        return resolved
    origins = {**resolved.origins, "model.path": named_by}
    return resolved.model_copy(update={"origins": origins})


def prepare(
    curriculum: Path,
    resolved: Resolved,
    backend: str = "auto",
    device: str = "auto",
    topics: Sequence[str] | None = None,
) -> Prepared:
    """Raises ConfigError, DataError, BackendUnavailable or ModelError."""
    return planned(gather(curriculum, resolved, backend, device), topics)


def gather(
    curriculum: Path, resolved: Resolved, backend: str, device: str, dtype: str = ""
) -> Material:
    """Find and read everything but the weights. `dtype`: what `model.dtype: auto` stands for, where
    that is known. Raises as `prepare` does."""
    from backends.model_files import resolve as resolve_model
    from mindprint.curriculum.load import read_curriculum
    from mindprint.engines import chosen

    config = resolved.config
    if config.model.path is None:
        hint = "name a folder or hub id: `--model PATH|ID`, or `model.path` in the configuration"
        raise ConfigError("no model is named", where="model.path", hint=hint)
    _known_device(device)
    choice = _backend(resolved, backend)
    read = read_curriculum(curriculum)
    folder = resolve_model(config.model.path, config.model.revision)
    renderer = Renderer.open(folder, enable_thinking=config.model.enable_thinking)
    asked = config.model.dtype
    return Material(
        resolved=resolved,
        backend=choice,
        engine=chosen(resolved),
        device=device,
        curriculum=read,
        folder=folder,
        renderer=renderer,
        dtype=dtype if dtype and asked == "auto" else asked,
    )


def planned(material: Material, topics: Sequence[str] | None) -> Prepared:
    """With the plan for `topics`, all of them unless named."""
    from mindprint.plan import make_plan

    config, read = material.resolved.config, material.curriculum
    choices = (material.backend, material.engine)
    plan = make_plan(read, config, material.renderer, choices, topics, folder=material.folder)
    return Prepared(**vars(material), plan=plan, only=tuple(topics or ()))


def open_model(prepared: Prepared) -> Session:
    """The model on the chosen backend, with one look at whether the adapter fits it."""
    from backends import get

    config = prepared.resolved.config
    spec = ModelSpec(
        path=prepared.model,
        revision=config.model.revision,
        dtype=prepared.dtype,  # type: ignore[arg-type]  # a setting's value, or a session's own
        device=prepared.device,  # type: ignore[arg-type]  # checked by _known_device
        attention=config.model.attention,
        quantization=config.model.quantization,
        longest_row=prepared.plan.longest_row,
    )
    session = get(prepared.backend.name).open(spec)
    try:
        _try_adapters(session, config)
    except BaseException:
        session.close()
        raise
    return session


def _try_adapters(session: Session, config: Config) -> None:
    """Attach and remove what the stages will attach: a target that fits nothing is found now."""
    wanted = [spec_of(config)]
    if config.dpo.when != "never" and config.dpo.adapter == "new":
        wanted.append(spec_of(config, "dpo"))
    for spec in wanted:
        session.adapters.add(spec, "trial")
        session.adapters.unload("trial")


def _backend(resolved: Resolved, named: str) -> Choice:
    """The backend that works here, and on which the engine does. Raises ConfigError where the
    settings do not go with the engine, BackendUnavailable."""
    from backends import choose, engine
    from mindprint.engines import backend_of, check_engine

    check_engine(resolved)
    choice = choose(backend_of(resolved, named))
    name = resolved.config.run.engine
    if name == "native":
        return choice
    engine(name)
    because = f"what the engine `{name}` runs on" if named == "auto" else choice.because
    return replace(choice, because=because)


def _known_device(device: str) -> None:
    if device not in DEVICES:
        near = difflib.get_close_matches(device, DEVICES, n=1)
        guess = f"did you mean `{near[0]}`? " if near else ""
        hint = f"{guess}use one of: {', '.join(DEVICES)}"
        raise ConfigError(f"there is no device `{device}`", where="--device", hint=hint)

"""What is evaluated: a run's ledger, or any model with adapters put on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from backends import choose, get, model_files, peft_files
from backends.asked import check_spec
from backends.contract import Choice, ModelSpec, Session
from mindprint import ledger
from mindprint.config import Resolved, resolve
from mindprint.errors import ConfigError
from mindprint.inputs import FILE, Inputs, read_inputs
from mindprint.rundir import RunDir, digest
from mindprint.tokens.render import Renderer

RUN_FILES = (FILE, "ledger.json", "config.yaml")


@dataclass(frozen=True)
class Attached:
    """An adapter that will act: `origin` is the ledger's topic, or the folder it was given as."""

    name: str
    origin: str
    folder: Path
    sha256: str


@dataclass(frozen=True)
class Target:
    """A model found and checked, with no weight loaded. `adapters` act in their order, those of a
    run's ledger first; `inputs` is what a run was started with."""

    resolved: Resolved
    backend: Choice
    renderer: Renderer
    spec: ModelSpec
    adapters: tuple[Attached, ...]
    run: Path | None = None
    until: str | None = None
    inputs: Inputs | None = None

    @classmethod
    def find(
        cls,
        named: str,
        *,
        adapters: Sequence[Path] = (),
        until: str | None = None,
        backend: str = "",
        device: str = "",
        config: Path | None = None,
        settings: Sequence[str] = (),
    ) -> Target:
        """`named` is a run folder, a model folder or a hub id; `adapters` are PEFT folders.

        A run brings its own settings, backend and device where others are not given. Raises
        ConfigError, ModelError, AdapterError or BackendUnavailable.
        """
        run = Path(named) if is_run(named) else None
        inputs = read_inputs(run) if run is not None else None
        _check_named(named, run, until)
        known = _of_run(run, until) if run is not None else ()
        given = tuple(_given(folder, place) for place, folder in enumerate(adapters, 1))
        file = config or (run / "config.yaml" if run is not None else None)
        resolved = _resolved(named, inputs, file, settings)
        chosen = choose(backend or (inputs.backend if inputs is not None else "auto"))
        made_on = inputs.device if inputs is not None and not backend else "auto"
        spec = _spec(resolved, device or made_on)
        folder = model_files.resolve(spec.path, spec.revision)
        thinking = resolved.config.model.enable_thinking
        renderer = Renderer.open(folder, enable_thinking=thinking)
        return cls(resolved, chosen, renderer, spec, (*known, *given), run, until, inputs)

    @contextmanager
    def open(self, longest_row: int) -> Iterator[Session]:
        """The model with its adapters attached as the frozen past; closed at the end."""
        session = get(self.backend.name).open(replace(self.spec, longest_row=longest_row))
        try:
            names: tuple[str, ...] = ()
            if self.run is not None:
                names = ledger.attach(session, RunDir.open(self.run), self.until)
            for adapter in self.adapters:
                if adapter.name not in names:
                    session.adapters.load(adapter.folder, adapter.name, frozen=True)
            yield session
        finally:
            session.close()

    @property
    def called(self) -> str:
        """How the model is named in what is written of it."""
        return self.inputs.called if self.inputs else model_files.name_of(self.spec.path)


def is_run(named: str) -> bool:
    """Whether `named` is a folder that `mindprint train` wrote."""
    return any((Path(named) / file).is_file() for file in RUN_FILES)


def _check_named(named: str, run: Path | None, until: str | None) -> None:
    folder = Path(named).expanduser()
    if run is None and until is not None:
        what = f"`{named}` is not a run folder, so it has no ledger to go back in"
        raise ConfigError(what, where="--until", hint="leave `--until` out")
    if (folder / peft_files.CONFIG).is_file() and not (folder / "config.json").is_file():
        hint = f"name the model it was trained on, and `--adapter {named}`"
        raise ConfigError(f"`{named}` is an adapter, not a model", where=named, hint=hint)


def _of_run(run: Path, until: str | None) -> tuple[Attached, ...]:
    """The ledger's entries in force, each checked against its SHA-256."""
    held = RunDir.open(run)
    entries = ledger.read(held).acting(until)
    return tuple(
        Attached(entry.name, entry.topic, ledger.verified(held, entry), entry.sha256)
        for entry in entries
    )


def _given(folder: Path, place: int) -> Attached:
    if not folder.is_dir():
        hint = f"an adapter is a folder with {peft_files.CONFIG} and {peft_files.WEIGHTS}"
        raise ConfigError(f"there is no adapter `{folder}`", where="--adapter", hint=hint)
    peft_files.read(folder)  # what cannot be applied is told before the model is loaded
    return Attached(f"given-{place}", str(folder), folder, digest(folder))


def _resolved(
    named: str, inputs: Inputs | None, file: Path | None, settings: Sequence[str]
) -> Resolved:
    model, origin = (inputs.model, f"{named}/{FILE}") if inputs else (named, "RUN|MODEL")
    made = resolve(file, settings, model__path=model)
    return made.model_copy(update={"origins": {**made.origins, "model.path": origin}})


def _spec(resolved: Resolved, device: str) -> ModelSpec:
    model = resolved.config.model
    spec = ModelSpec(
        path=str(model.path),
        revision=model.revision,
        dtype=model.dtype,
        device=device,  # type: ignore[arg-type]  # checked on the next line
        attention=model.attention,
    )
    check_spec(spec)
    return spec

"""What is evaluated: a run's ledger, or any model with adapters put on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from backends import choose, get, model_files, packed_files, peft_files
from backends.asked import check_spec
from backends.contract import Choice, ModelSpec, Session
from backends.errors import AdapterError, ModelError
from mindprint import ledger
from mindprint.config import Resolved, resolve
from mindprint.disk.sealed import adapter_digest
from mindprint.errors import ConfigError
from mindprint.inputs import FILE, Inputs, read_inputs, with_given
from mindprint.rundir import RunDir
from mindprint.tokens.render import Renderer

RUN_FILES = (FILE, "ledger.json", "config.yaml")
NAMED = "RUN|MODEL"
Quantization = Literal["none", "4bit", "8bit"]
UNQUANTIZED: Quantization = "none"


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
        like: Resolved | None = None,
        place: str = NAMED,
    ) -> Target:
        """`named` is a run folder, a model folder or a hub id; `adapters` are PEFT folders.

        A run brings its own settings, backend and device where others are not given. `like`:
        another's settings, of which all but the model's path and revision are taken, and but how
        it is quantized where `named` is a run, or a model whose files are quantized. `place`: the
        argument that `named` was given as, which a fault of it names. Raises ConfigError,
        ModelError, AdapterError or BackendUnavailable.
        """
        run = Path(named) if is_run(named) else None
        inputs = read_inputs(run) if run is not None else None
        _check_named(named, run, until, place)
        acting = _acting(_of_run(run, until) if run is not None else (), adapters)
        resolved = _resolved(named, inputs, config, settings, place)
        if like is not None:
            resolved = _like(like, resolved, _quantization(like, resolved, run, place))
        chosen = choose(backend or (inputs.backend if inputs is not None else "auto"))
        if inputs is not None:
            ledger.check_packed(inputs, chosen.name)
        same = inputs is not None and chosen.name == inputs.backend
        made_on = inputs.device if inputs is not None and same else "auto"
        spec = _spec(resolved, device or made_on)
        folder = _folder(spec.path, spec.revision, place)
        _check_shapes(acting, folder)
        thinking = resolved.config.model.enable_thinking
        renderer = Renderer.open(folder, enable_thinking=thinking)
        return cls(resolved, chosen, renderer, spec, acting, run, until, inputs)

    @classmethod
    def beside(cls, named: str, other: Target, place: str) -> Target:
        """Another model to be compared with `other`: on the same backend and device, with the same
        settings but for its own path and revision. Raises what `find` raises."""
        return cls.find(
            named,
            backend=other.backend.name,
            device=other.spec.device,
            like=other.resolved,
            place=f"{place} {named}",
        )

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

    @cached_property
    def folder(self) -> Path:
        """Where the model lies; a hub is asked once."""
        return model_files.resolve(self.spec.path, self.spec.revision)

    def libraries(self) -> Mapping[str, str]:
        """Versions of the backend's own libraries."""
        return get(self.backend.name).availability().versions

    @property
    def called(self) -> str:
        """How the model is named in what is written of it."""
        return self.inputs.called if self.inputs else model_files.name_of(self.spec.path)


def is_run(named: str) -> bool:
    """Whether `named` is a folder that `mindprint train` wrote."""
    return any((Path(named) / file).is_file() for file in RUN_FILES)


def _check_named(named: str, run: Path | None, until: str | None, place: str) -> None:
    folder = Path(named).expanduser()
    if run is None and until is not None:
        what = f"`{named}` is not a run folder, so it has no ledger to go back in"
        raise ConfigError(what, where="--until", hint="leave `--until` out")
    if (folder / peft_files.CONFIG).is_file() and not (folder / "config.json").is_file():
        hint = f"name the model it was trained on, and `--adapter {named}`"
        raise ConfigError(f"`{named}` is an adapter, not a model", where=place, hint=hint)
    around = _run_around(folder)
    if run is None and around is not None and not (folder / "config.json").is_file():
        what = f"`{named}` is a folder inside of a run, not a model"
        raise ConfigError(what, where=place, hint=f"name the run: `{around}`")


def _run_around(folder: Path) -> Path | None:
    """The run that a folder lies in."""
    if not folder.is_dir():
        return None
    return next((above for above in folder.absolute().parents if (above / FILE).is_file()), None)


def _folder(path: str, revision: str | None, place: str) -> Path:
    """The model's folder; a fault of it names the argument that the model was given as."""
    try:
        return model_files.resolve(path, revision)
    except ModelError as error:
        where = error.where.replace("model.path", place)
        if where == error.where and where != "model.revision":
            where = f"{place}: {where}"
        raise ModelError(error.what, where=where, hint=error.hint) from error


def _of_run(run: Path, until: str | None) -> tuple[Attached, ...]:
    """The ledger's entries in force, each checked against its SHA-256."""
    held = RunDir.open(run)
    entries = ledger.read(held).acting(until)
    return tuple(
        Attached(entry.name, entry.topic, ledger.verified(held, entry), entry.sha256)
        for entry in entries
    )


def _acting(known: Sequence[Attached], folders: Sequence[Path]) -> tuple[Attached, ...]:
    """A run's adapters, then those given; the same one twice would act with twice its weight."""
    acting = {one.sha256: one for one in known}
    found = list(known)
    for number, folder in enumerate(folders, 1):
        one = _given(folder, number)
        twin = acting.setdefault(one.sha256, one)
        if twin is not one:
            what = f"`{one.origin}` is the adapter that acts already as `{twin.origin}`"
            raise ConfigError(what, where="--adapter", hint="leave one of the two out")
        found.append(one)
    return tuple(found)


def _given(folder: Path, number: int) -> Attached:
    hint = f"an adapter is a folder with {peft_files.CONFIG} and {peft_files.WEIGHTS}"
    if not folder.is_dir():
        raise ConfigError(f"there is no adapter `{folder}`", where="--adapter", hint=hint)
    if not (folder / peft_files.CONFIG).is_file():
        if (folder / "config.json").is_file() or is_run(str(folder)):
            hint = f"a model or a run is named in the place of {NAMED}"
        what = f"`{folder}` is no adapter: {peft_files.CONFIG} is missing"
        raise ConfigError(what, where="--adapter", hint=hint)
    peft_files.header(folder)  # what cannot be applied is told before the model is loaded
    return Attached(f"given-{number}", str(folder), folder, adapter_digest(folder))


def _check_shapes(acting: Sequence[Attached], folder: Path) -> None:
    """Raises AdapterError for an adapter that some layer of the model cannot take, after the
    headers of its files. A layer that goes by another name there is left to the backend."""
    if not acting:
        return
    shapes = _layer_shapes(folder)
    for one in acting:
        spec, held = peft_files.header(one.folder)
        told = {name: part for name, part in held.items() if name.rsplit(".", 1)[0] in shapes}
        if not told:
            continue
        try:
            peft_files.check(spec, told, shapes)
        except AdapterError as error:
            raise AdapterError(error.what, where=one.origin, hint=error.hint) from error


def _layer_shapes(folder: Path) -> dict[str, tuple[int, int]]:
    """Layer path -> (out, in), of the matrices in the model's files."""
    return {
        name.removesuffix(".weight"): (held.shape[0], held.shape[1])
        for name, held in packed_files.weights(folder).items()
        if len(held.shape) == 2
    }


def _resolved(
    named: str, inputs: Inputs | None, file: Path | None, settings: Sequence[str], place: str
) -> Resolved:
    """A run's own settings with `settings` on top, unless a file takes their place."""
    if inputs is not None and file is None:
        origin = f"{named}/{FILE}"
        own = inputs.resolved()
        own = own.model_copy(update={"origins": dict.fromkeys(inputs.config, origin)})
        return with_given(own, None, settings)
    model, origin = (inputs.model, f"{named}/{FILE}") if inputs else (named, place)
    made = resolve(file, settings, model__path=model)
    return made.model_copy(update={"origins": {**made.origins, "model.path": origin}})


def _quantization(other: Resolved, own: Resolved, run: Path | None, place: str) -> Quantization:
    """A run's model is opened as it was trained over, any other as the other's; what is quantized
    in its files is not quantized once more."""
    if run is not None:
        return own.config.model.quantization
    asked = other.config.model.quantization
    if asked == UNQUANTIZED or own.config.model.path == other.config.model.path:
        return asked
    folder = _folder(str(own.config.model.path), own.config.model.revision, place)
    found = packed_files.packing(model_files.read_config(folder), str(folder / "config.json"))
    return asked if found is None else UNQUANTIZED


def _like(other: Resolved, own: Resolved, quantization: Quantization) -> Resolved:
    """The other's settings with one's own model; the same model keeps the other's revision."""
    path, revision = own.config.model.path, own.config.model.revision
    keys = ["model.path", "model.revision"]
    if path == other.config.model.path and revision is None:
        revision, keys = other.config.model.revision, keys[:1]
    if quantization != other.config.model.quantization:
        keys.append("model.quantization")
    update = {"path": path, "revision": revision, "quantization": quantization}
    model = other.config.model.model_copy(update=update)
    origins = {key: origin for key, origin in other.origins.items() if key not in keys}
    origins |= {key: own.origins[key] for key in keys if key in own.origins}
    config = other.config.model_copy(update={"model": model})
    return Resolved(config=config, origins=origins)


def _spec(resolved: Resolved, device: str) -> ModelSpec:
    model = resolved.config.model
    spec = ModelSpec(
        path=str(model.path),
        revision=model.revision,
        dtype=model.dtype,
        device=device,  # type: ignore[arg-type]  # checked on the next line
        attention=model.attention,
        quantization=model.quantization,
    )
    check_spec(spec)
    return spec

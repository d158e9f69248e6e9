"""An adapter trained by others, PEFT's or mlx-lm's, made a run of one accepted entry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from backends import lora, mlx_files, peft_files
from backends.contract import AdapterSpec, Params, Session
from backends.errors import AdapterError
from backends.json_files import json_of
from backends.weight_files import Held
from mindprint import guards
from mindprint import ledger as ledgers
from mindprint.adapter import settings_of
from mindprint.disk.sealed import adapter_digest
from mindprint.disk.whole import write_new_folder
from mindprint.effect import Effect, measure
from mindprint.errors import ConfigError
from mindprint.events import Event
from mindprint.footprint import read_sizes
from mindprint.heritage import Kept
from mindprint.inputs import Inputs, Origin, absolute, settled, with_values, write_inputs
from mindprint.ledger import Entry, Ledger
from mindprint.report.words import several
from mindprint.results import write_config
from mindprint.rundir import PAST, RunDir
from mindprint.sameness import tokenizer_id
from mindprint.target import Target
from mindprint.versions import SHAPING, installed
from mindprint.visible import visible_line

WHERE = "DIR"
ROW = 128
"""Tokens of the longest row that verifying feeds."""
RANKS = 4
"""Times the widest layer that a rank may be. More than once says nothing new, but adapters of many
topics that were folded into one have more, on a small model."""
_ENDS = ("lm_head", "embed_tokens")
_SCALED = lora.name_b("")


@dataclass(frozen=True)
class Form:
    """Who writes such a folder, how it is read, and where it says what it was trained on."""

    name: str
    header: Callable[[Path], tuple[AdapterSpec, dict[str, Held]]]
    read: Callable[[Path], tuple[AdapterSpec, Params]]
    config: str
    base: str


_PEFT = Form(
    "PEFT", peft_files.header, peft_files.read, peft_files.CONFIG, "base_model_name_or_path"
)
_MLX = Form("mlx-lm", mlx_files.header, mlx_files.read, mlx_files.CONFIG, "model")


@dataclass(frozen=True)
class Stranger:
    """An adapter as its folder has it. `base`: what it says it was trained on; `form`: who wrote
    it; `held`: what its file's header says of each tensor, by contract name."""

    folder: Path
    form: Form
    base: str
    spec: AdapterSpec
    held: Mapping[str, Held]

    @classmethod
    def read(cls, folder: Path) -> Stranger:
        """Its configuration and its file's header alone. Raises ConfigError for a folder that is no
        adapter, AdapterError for one that would not be applied as it was trained."""
        if not folder.is_dir():
            raise ConfigError(f"there is no folder `{folder}`", where=WHERE, hint=_WANTED)
        form = _form(folder)
        spec, held = form.header(folder)
        if not np.float32(spec.scale) > 0:
            what = f"its factor is {spec.scale:g}, which is not above 0 in float32"
            raise AdapterError(what, where=str(folder))
        base = json_of(folder / form.config).get(form.base)
        return cls(folder, form, base if isinstance(base, str) else "", spec, held)

    @cached_property
    def tensors(self) -> Params:
        """Read once, after `fit`. Raises AdapterError for numbers that cannot act as they are."""
        _, tensors = self.form.read(self.folder)
        _check_sound(self.folder, self.spec, tensors)
        return tensors

    def fit(self, linears: Mapping[str, tuple[int, int]]) -> None:
        """Raises AdapterError naming the tensors that fit no layer of the model: `linears` maps a
        layer's path to (out, in). Where all layers go by other names it is left to the backend."""
        ends = sorted({path for path in self.paths if path.rsplit(".", 1)[-1] in _ENDS})
        if ends:
            raise AdapterError(
                f"it adapts `{ends[0]}`, and mindprint adapts the layers between the embedding and "
                "the output head",
                where=str(self.folder),
            )
        self._check_sides(max((side for sides in linears.values() for side in sides), default=0))
        if not linears.keys() & set(self.paths):
            return
        try:
            peft_files.check(self.spec, self.held, linears)
        except AdapterError as error:
            raise AdapterError(error.what, where=str(self.folder), hint=error.hint) from error

    def _check_sides(self, widest: int) -> None:
        """Raises AdapterError for a tensor that no memory should be given to."""
        for name, one in self.held.items():
            if max(one.shape, default=0) > RANKS * widest:
                what = f"`{name}` is {one.shape}, and the model's widest layer has {widest}"
                hint = "was it trained on another base?"
                raise AdapterError(what, where=str(self.folder), hint=hint)

    def notices(self, model: str) -> tuple[str, ...]:
        """What is to be said of it. `model`: what the base is called here."""
        said = []
        base = visible_line(self.base)
        if base and Path(base).name != Path(model).name:
            said.append(f"it says it was trained on `{base}`; it is put on `{model}`")
        if self.silent:
            said.append("all of its B are zero: it changes nothing")
        return tuple(said)

    @property
    def paths(self) -> list[str]:
        """The layers it adapts."""
        return lora.paths_of(self.held)

    @property
    def silent(self) -> bool:
        """Whether it cannot change anything: B A is zero in every layer. A DoRA does by its
        magnitudes what only the opened model tells."""
        return self.spec.kind != "dora" and not any(
            self.tensors[lora.name_a(path)].any() and self.tensors[lora.name_b(path)].any()
            for path in self.paths
        )


@dataclass(frozen=True)
class Adopted:
    """The run that was made, and what is to be said of it."""

    run: Path
    entry: Entry
    effect: Effect
    notices: tuple[str, ...]


_WANTED = (
    f"an adapter is a folder with {peft_files.CONFIG} and {peft_files.WEIGHTS} (PEFT) or "
    f"{mlx_files.WEIGHTS} (mlx-lm)"
)


def adopt(stranger: Stranger, target: Target, out: Path, name: str) -> Adopted:
    """Write the run `out`, whole or not at all, after the adapter was seen to act in the opened
    model and to leave its base as it was.

    Raises ConfigError for settings that the adapter itself has, AdapterError for an adapter that
    does not fit, StageError where the base changed.
    """
    _check_settings(target)
    linears = read_sizes(target.folder).linears
    stranger.fit(linears)
    tensors, called = stranger.tensors, target.called
    made: list[Adopted] = []

    def fill(folder: Path) -> None:
        place = folder / PAST / "01"
        peft_files.write(place, stranger.spec, tensors, base=called, linears=linears)
        with target.open(ROW) as session:
            effect = _verified(session, target, stranger, place)
            entry = _entry(stranger, target, name, adapter_digest(place), effect)
            notices = stranger.notices(called)
            _write_run(folder, stranger, target, session, entry, notices)
        made.append(Adopted(out, entry, effect, notices))

    size = sum(tensor.nbytes for tensor in tensors.values())
    write_new_folder(out, fill, size)
    return made[0]


def _check_settings(target: Target) -> None:
    """Raises ConfigError for a setting given of what the folder says."""
    for key, origin in target.resolved.origins.items():
        if key.startswith("adapter.") and origin.startswith("--set"):
            what = f"`{key}` is the adapter's own, as its folder has it"
            raise ConfigError(what, where=origin, hint=f"leave `{origin}` out")


def checked_name(name: str | None, folder: Path) -> str:
    """What the adapter is called as a topic: `name`, or its folder's name made fit. Raises
    ConfigError."""
    given = name if name is not None else re.sub(r"[^\w.-]+", "-", folder.resolve().name)
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", given):
        hint = "use letters, digits, `.`, `_`, `-`, and `/` between parts: `--name NAME`"
        raise ConfigError(f"`{given}` cannot name an adapter", where="--name", hint=hint)
    return given


def _form(folder: Path) -> Form:
    if mlx_files.is_mlx(folder) and not (folder / peft_files.WEIGHTS).is_file():
        return _MLX
    if (folder / peft_files.CONFIG).is_file() and not list(folder.glob("*.npz")):
        return _PEFT  # its reader says what is missing
    if (folder / "config.json").is_file():
        hint = "a model is named as `--model`, and the adapter's folder as DIR"
        raise ConfigError(f"`{folder}` is a model, not an adapter", where=WHERE, hint=hint)
    odd = " (`*.npz` is what mlx-lm wrote in its first year)" if list(folder.glob("*.npz")) else ""
    raise ConfigError(f"`{folder}` is no adapter{odd}", where=WHERE, hint=_WANTED)


def _check_sound(folder: Path, spec: AdapterSpec, tensors: Params) -> None:
    """Raises AdapterError for numbers that cannot act as they are."""
    scale = np.float32(spec.scale)
    with np.errstate(over="ignore"):
        odd = sorted(
            name
            for name, tensor in tensors.items()
            if not np.isfinite(tensor * scale if name.endswith(_SCALED) else tensor).all()
        )
    if odd:
        what = f"{several(len(odd), 'tensor')} with numbers that are not finite, such as `{odd[0]}`"
        scaled = "" if scale == 1 else f" (B times the factor {spec.scale:g})"
        raise AdapterError(f"{what}{scaled}", where=str(folder))


def _verified(session: Session, target: Target, stranger: Stranger, place: Path) -> Effect:
    """What the adapter does in the opened model, which is left as it was found."""
    before = session.adapters.base_fingerprint()
    try:
        session.adapters.load(place, "adopted", frozen=True)
    except AdapterError as error:
        raise AdapterError(error.what, where=str(stranger.folder), hint=error.hint) from error
    effect = measure(session, target.renderer)
    if not effect.sound:
        what = "the model's logits are no longer finite with it, so it cannot be used"
        raise AdapterError(what, where=str(stranger.folder), hint="its numbers are far too large")
    session.adapters.unload("adopted")
    guards.check_base(before, session.adapters.base_fingerprint(), str(stranger.folder))
    return effect


def _entry(stranger: Stranger, target: Target, name: str, digest: str, effect: Effect) -> Entry:
    spec = stranger.spec
    return Entry(
        name=f"{name}:adopted",
        topic=name,
        stage="adopted",
        kind=spec.kind,
        rank=spec.rank,
        alpha=spec.alpha,
        scaling=spec.scaling,
        folder=f"{PAST}/01",
        sha256=digest,
        replaces=None,
        backend=target.backend.name,
        before=None,
        after=None,
        accepted=True,
        verdict=f"trained by others ({stranger.form.name}), not evaluated; {effect.told}",
    )


def _write_run(
    folder: Path,
    stranger: Stranger,
    target: Target,
    session: Session,
    entry: Entry,
    notices: Sequence[str],
) -> None:
    """Everything of the run but its adapter, the ledger last."""
    run = RunDir(folder)
    inputs = _inputs(stranger, target, session, entry.topic)
    Kept(session.model_id, (entry,)).write(folder / PAST)
    write_inputs(folder, inputs)
    write_config(run, inputs.begun())
    for text in (f"adopted from {stranger.folder}: {entry.verdict}", *notices):
        run.record(Event("notice", entry.topic, data={"text": text}))
    ledgers.write(run, Ledger(model_id=session.model_id, handoff="stack", entries=(entry,)))


def _inputs(stranger: Stranger, target: Target, session: Session, name: str) -> Inputs:
    """What it takes to open the model again; the adapter's own shape is the settings'."""
    info, spec = session.info, stranger.spec
    linears = read_sizes(target.folder).linears
    own = {**settings_of(spec), "targets": lora.leaf_targets(stranger.paths, linears)}
    shape = {f"adapter.{key}": value for key, value in own.items()}
    origin = str(stranger.folder)
    resolved = with_values(target.resolved, shape, dict.fromkeys(shape, origin))
    return Inputs(
        curriculum=None,
        model=absolute(target.spec.path),
        called=target.called,
        backend=target.backend.name,
        device=target.spec.device,
        topics=(),
        system="",
        hashes={},
        config=settled(resolved),
        origins=resolved.origins,
        model_id=session.model_id,
        tokenizer=tokenizer_id(target.renderer, target.folder),
        versions={**installed(SHAPING), **target.libraries()},
        dtype=info.dtype,
        opened_on=info.device,
        threads=info.threads,
        blas=info.blas,
        began_with=Origin(run=str(stranger.folder.resolve()), ledger="", topics=(name,)),
    )

"""Adapters that act from a run's start: those that another run has in force, or an adopted one."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backends import lora, peft_files
from mindprint import ledger as ledgers
from mindprint.adapter import settings_of, typed
from mindprint.config import Config, Resolved
from mindprint.disk.sealed import Damaged, adapter_digest, file_hash, read_json, write_json
from mindprint.disk.whole import write_folder
from mindprint.errors import ConfigError
from mindprint.inputs import Inputs, Origin, read_inputs, with_values
from mindprint.ledger import LEDGER, Entry
from mindprint.report.words import several
from mindprint.rundir import PAST, PAST_FILE, RunDir
from mindprint.sameness import MODEL, TOKENS, Difference, Differs
from mindprint.stage_folder import ADAPTER

FROM = "--from"
THINKING = "model.enable_thinking"
QUANTIZATION = "model.quantization"
LONGEST = 200
"""Characters of a value that is still named on a command line."""


@dataclass(frozen=True)
class Kept:
    """What a run's folder says of the adapters it began with: the entries that come first in its
    ledger, and the model that they were made on."""

    model_id: str
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, run: RunDir) -> Kept:
        """No entries, and no model, where the run began with its base alone. Raises Damaged."""
        where = run.path / PAST / PAST_FILE
        if not where.parent.is_dir():
            return cls("", ())
        tree = read_json(where)
        try:
            entries = tuple(Entry.model_validate(entry) for entry in tree["entries"])
            return cls(str(tree["model_id"]), entries)
        except (KeyError, TypeError, ValidationError) as error:
            raise Damaged(where, "it is no list of a ledger's entries") from error

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics of the entries, in order."""
        return tuple(dict.fromkeys(entry.topic for entry in self.entries))

    @property
    def branches(self) -> int:
        return branches(self.entries)

    def told(self) -> tuple[str, ...]:
        """What is to be said of it as the run begins."""
        if not self.entries:
            return ()
        count = several(len(self.entries), "adapter")
        return (f"the run began with {count} trained elsewhere: {', '.join(self.topics)}",)

    def size(self, run: RunDir) -> int:
        """Bytes of the adapters' files, as far as they are there."""
        files = [run.path / entry.folder / name for entry in self.entries for name in ADAPTER]
        return sum(file.stat().st_size for file in files if file.is_file())

    def write(self, folder: Path) -> None:
        """The list; the adapters lie beside it. `folder`: a run's `past`."""
        entries = [entry.model_dump(mode="json") for entry in self.entries]
        write_json(folder / PAST_FILE, {"model_id": self.model_id, "entries": entries})


@dataclass(frozen=True)
class Heritage:
    """What a new run takes over from a finished, stopped or adopted one: its entries in force."""

    run: RunDir
    inputs: Inputs
    entries: tuple[Entry, ...]
    origin: Origin

    @classmethod
    def of(cls, path: Path, until: str | None) -> Heritage:
        """`until`: the last topic that is wanted. Every adapter is checked against its SHA-256.

        Raises ConfigError for what is no run, an unknown topic or an empty ledger; Damaged.
        """
        inputs, run = read_inputs(path), RunDir(path)
        if not (path / LEDGER).is_file():
            hint = f"`mindprint resume {shlex.quote(str(path))}` goes on with the run, and makes it"
            raise ConfigError(f"the run has no {LEDGER} yet", where=f"{FROM} {path}", hint=hint)
        ledger = ledgers.read(run)
        entries = ledger.acting(until)
        if not entries:
            raise ConfigError(
                "the run has no adapter in force, so there is nothing to begin with",
                where=f"{FROM} {path}",
                hint=f"leave `{FROM}` out: the model is the base",
            )
        for entry in entries:
            ledgers.verified(run, entry)
        origin = Origin(
            run=str(path.resolve()),
            ledger=file_hash(path / LEDGER),
            topics=_carried(inputs, ledger.upto(until)),
        )
        return cls(run, inputs, entries, origin)

    @property
    def branches(self) -> int:
        return branches(self.entries)

    @property
    def size(self) -> int:
        """Bytes of the adapters' files."""
        folders = [self.run.path / entry.folder for entry in self.entries]
        return sum((folder / name).stat().st_size for folder in folders for name in ADAPTER)

    def with_model(self, resolved: Resolved) -> Resolved:
        """The settings, with this run's model where they name none."""
        if resolved.config.model.path is not None:
            return resolved
        own = self.inputs.resolved().config.model
        values = {"model.path": own.path, "model.revision": own.revision}
        if QUANTIZATION not in resolved.origins:  # another one that is asked for is refused later
            values[QUANTIZATION] = own.quantization
        origin = f"{FROM} {self.run.path}"
        return with_values(resolved, values, dict.fromkeys(values, origin))

    def check(
        self,
        config: Config,
        topics: Collection[str],
        model_id: str,
        tokenizer: str,
        linears: Collection[str],
    ) -> None:
        """Raises Differs for another model, tokenizer or template, ConfigError for a topic that
        stands in both runs, or an adapter that cannot be trained on as it is. `tokenizer`: as
        `tokenizer_id` makes it; `linears`: paths of the model's layers."""
        if model_id != self.inputs.model_id:
            found = [Difference(MODEL, self.inputs.model_id[:12], model_id[:12])]
            hint = "adapters belong to the model they were trained on: leave `--model` out"
            own = self.inputs.config.get(QUANTIZATION, "none")
            if {own, config.model.quantization} != {"none"}:
                hint += (
                    f", and use `--backend {self.inputs.backend} --set {QUANTIZATION}={own}`: each "
                    "way of packing the weights makes another model"
                )
            raise Differs(self.run.path, found, hint)
        self._check_tokens(config, tokenizer)
        twice = [topic for topic in topics if topic in self.origin.topics]
        if twice:
            run = shlex.quote(str(self.run.path))
            raise ConfigError(
                f"`{twice[0]}` was trained in that run already",
                where=f"{FROM} {self.run.path}",
                hint="name the topics that are new with `--topic ID`, or go on from a run's own "
                f"topics with `mindprint resume {run} --fork NEW`",
            )
        check_merge(config, self.entries, f"{FROM} {self.run.path}")
        check_shape(config, self.run.path / self.entries[-1].folder, linears)

    def _check_tokens(self, config: Config, tokenizer: str) -> None:
        """Raises Differs where text would become other tokens than the adapters learned."""
        if tokenizer == self.inputs.tokenizer:
            return
        found = [Difference(TOKENS, self.inputs.tokenizer[:12], tokenizer[:12])]
        hint = "put the model's tokenizer and chat template back: the adapters learned with those"
        was, now = self.inputs.config[THINKING], config.model.enable_thinking
        if was != now:
            found.append(Difference(THINKING, str(was), str(now)))
            hint = (
                f"add `--set {THINKING}={str(was).lower()}`, with which the adapters were trained"
            )
        raise Differs(self.run.path, found, hint)

    def told(self, system: str) -> tuple[str, ...]:
        """What is to be said as a run begins with it under the system prompt `system`."""
        if self.inputs.adopted or self.inputs.system == system:
            return ()
        return (f"the system prompt is another than the one {self.run.path} was trained with",)

    def copy(self, place: Path) -> None:
        """Into the run folder `place`, whole or not at all. Raises NoRoom, or Damaged when a file
        changes on the way."""

        def fill(folder: Path) -> None:
            own = []
            for number, entry in enumerate(self.entries, 1):
                name = f"{number:02d}"
                take(self.run.path / entry.folder, folder / name, entry.sha256)
                moved = {"folder": f"{PAST}/{name}", "replaces": None}
                own.append(entry.model_copy(update=moved))
            Kept(self.inputs.model_id, tuple(own)).write(folder)

        write_folder(place / PAST, fill, self.size)


def branches(entries: Sequence[Entry]) -> int:
    """How many of them stay beside the weights, as branches of their own: the LS-LoRA."""
    return sum(entry.kind == "lslora" for entry in entries)


def check_merge(config: Config, entries: Sequence[Entry], where: str) -> None:
    """Raises ConfigError where the past would have to be merged and cannot be."""
    if config.handoff == "merge" and branches(entries):
        raise ConfigError(
            "`handoff: merge` adds the past to the weights, and LS-LoRA is in force there, whose "
            "spline no weights can hold",
            where=f"handoff, {where}",
            hint="use `--set handoff=stack`, which keeps each as a branch beside the weights",
        )


def take(source: Path, target: Path, digest: str) -> None:
    """Copy an adapter's two files. Raises Damaged when they are not those of `digest`."""
    target.mkdir(parents=True)
    for name in ADAPTER:
        shutil.copyfile(source / name, target / name)
    if adapter_digest(target) != digest:
        raise Damaged(source / ADAPTER[1], "its hash is not the ledger's")


def check_shape(config: Config, folder: Path, linears: Collection[str]) -> None:
    """Under `continue` an adapter is trained on, and keeps its shape. Raises ConfigError naming the
    keys that say otherwise; nothing is asked under another handoff."""
    if config.handoff != "continue":
        return
    spec, tensors = peft_files.read(folder)
    own, asked = settings_of(spec), vars(config.adapter)
    odd = {name: value for name, value in own.items() if value != asked[name]}
    adapted = lora.paths_of(tensors)
    if set(lora.select(linears, config.adapter.targets)) != set(adapted):
        odd["targets"] = lora.leaf_targets(adapted, linears)
    if odd:
        raise ConfigError(
            "under `handoff: continue` the last adapter is trained on, and keeps its shape",
            where=", ".join(f"adapter.{name}" for name in odd),
            hint=f"add {_settings(odd)}, or use `--set handoff=stack`, which trains its own",
        )


def _settings(odd: Mapping[str, Any]) -> str:
    """The options that name the adapter's own values; a long list of layers is left to a file."""
    short = {name: value for name, value in odd.items() if len(str(value)) <= LONGEST}
    said = [f"`{typed(short)}`"] if short else []
    long = ["its layers as `adapter.targets` in a --config"] if len(short) < len(odd) else []
    return " and ".join([*said, *long])


def _carried(inputs: Inputs, entries: Sequence[Entry]) -> tuple[str, ...]:
    """All topics whose training is in the adapters, those too that a later entry replaced."""
    earlier = inputs.began_with.topics if inputs.began_with is not None else ()
    own = (entry.topic for entry in entries if entry.accepted)
    return tuple(dict.fromkeys((*earlier, *own)))

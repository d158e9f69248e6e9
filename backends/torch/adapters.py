"""Every attachment to the base model: one adapter that trains, over a frozen past."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from backends import lora, peft_files
from backends.contract import AdapterSpec, AdapterState, MergeReport, Params
from backends.errors import AdapterError
from backends.lifetime import while_open
from backends.torch.base_weight import sizes
from backends.torch.fingerprint import checksum
from backends.torch.frozen import Frozen, by_path
from backends.torch.memory import room_for
from backends.torch.merge import changes_of, fold, probe_logits
from backends.torch.model import Opened
from backends.torch.past import Past
from backends.torch.trainable import Trainable, array, contract_name, refuse_unaccounted
from backends.torch.unmarked import afterwards, unmarked


class TorchAdapters:
    """The contract's AdapterManager. The trainable adapter is PEFT's; the past sits below it, in
    PastLinear layers; the original layers are kept and put back when nothing is left on them."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._model = opened.model
        self._linears = opened.linears()
        self._past = Past(opened.model, self._linears, opened.device)
        self._training: Trainable | None = None
        self._merged: list[list[Frozen]] = []  # merge by merge
        self._merges = 0
        self._inside = 0

    # Attaching and detaching

    @while_open
    def add(self, spec: AdapterSpec, name: str) -> None:
        self._check_free(name)
        paths = lora.select(self._linears, spec.targets)
        fresh: Params = {}
        with self._room():
            for path in paths:
                norms = array(self._past.norms(path)) if spec.kind == "dora" else None
                fresh |= lora.initial(spec, path, *self._shape(path), norms)
            self._training = Trainable(self._model, name, spec, paths, fresh)

    @while_open
    def load(self, path: Path, name: str, *, frozen: bool = False) -> None:
        spec, params = peft_files.read(path, {one: self._shape(one) for one in self._linears})
        self._check_free(name, training=not frozen)
        adapter = Frozen(name, spec, params)
        with room_for("the adapter", self._opened.device, where=str(path)):
            if frozen:
                self._past.hold([*self._past.adapters, adapter])
            else:
                self._train(adapter)

    @while_open
    def freeze(self, name: str) -> None:
        self._check_outside()
        training = self._named_training(name)
        adapter = Frozen(name, training.spec, training.values())
        with room_for("the frozen adapter", self._opened.device):
            self._past.hold([*self._past.adapters, adapter])  # first: it may find no room
        self._drop_training()

    @while_open
    def unload(self, name: str) -> None:
        self._check_outside()
        if self._training is not None and self._training.name == name:
            self._drop_training()
        elif name in self._past.names():
            self._past.hold([a for a in self._past.adapters if a.name != name])
        elif name in self._merged_names():
            raise AdapterError(
                f"`{name}` is merged into the weights and cannot be unloaded",
                hint="open the model afresh and load the adapters that stay",
            )
        else:
            raise self._unknown(name)

    @while_open
    def merge_and_unload(self, bound: float = 0.1) -> MergeReport:
        self._check_outside()
        everything = list(self._past.adapters)
        if self._training is not None:
            training = self._training
            everything.append(Frozen(training.name, training.spec, training.values()))
        if not everything:
            raise AdapterError("nothing is attached that could be merged")
        earlier = [by_path(adapters) for adapters in self._merged]
        changes = changes_of(self._linears, earlier, by_path(everything))
        with room_for("a merge", self._opened.device, where="handoff"):
            report = fold(self._opened, changes, bound, self._probe)
        self._detach_all()
        self._merged.append(everything)
        self._merges += 1
        return report

    # Looking

    @while_open
    def trainable(self) -> dict[str, tuple[int, ...]]:
        return {
            contract_name(name): tuple(parameter.shape)
            for name, parameter in self._model.named_parameters()
            if parameter.requires_grad
        }

    @while_open
    def parameters(self) -> Params:
        return {} if self._training is None else self._training.values()

    @while_open
    def active(self) -> tuple[str, ...]:
        last = () if self._training is None else (self._training.name,)
        return (*self._past.names(), *last)

    @while_open
    def base_fingerprint(self) -> dict[str, int]:
        trained = {id(parameter) for parameter in self.tensors().values()}
        return {
            name.replace(".base_layer.", "."): checksum(parameter)
            for name, parameter in self._model.named_parameters()
            if id(parameter) not in trained
        }

    def tensors(self) -> dict[str, Any]:
        """The trainable parameters themselves, by contract name: what a learner steps."""
        return {} if self._training is None else self._training.parameters()

    @property
    def training(self) -> Trainable | None:
        return self._training

    @while_open
    @contextlib.contextmanager
    def using(self, names: Sequence[str]) -> Iterator[None]:
        attached = self.active()
        for name in names:
            if name not in attached and name not in self._merged_names():
                raise self._unknown(name)
        left_out = [name for name in self._merged_names() if name not in names]
        if left_out:
            raise AdapterError(
                f"merged adapters cannot be left out: {', '.join(left_out)}",
                hint="open the model afresh for a baseline without them",
            )
        self._inside += 1
        try:
            with self._only(names):
                yield
        finally:
            self._inside -= 1

    @while_open
    @contextlib.contextmanager
    def wrapped(self) -> Iterator[Any]:
        """Inside, the adapter in training sits in the PeftModel that is handed out, as trainers
        that are not ours take it; afterwards it is attached as before, with the values it then
        has, and the model bears no mark of what was done to it. Where these cannot be read, the
        values are those it came with, and this raises, or what was raised inside does.

        Raises AdapterError when none is in training, or another is attached beside it.
        """
        self._check_outside()
        if self._training is None:
            refuse_unaccounted(self._model)
            raise AdapterError("no adapter is in training", hint="add or load one first")
        self._training.check_alone()
        held = self._find(None)
        self._drop_training()

        def take_out() -> None:
            nonlocal held
            try:
                with self._room():
                    held = self._find(None)
            finally:
                self._drop_training()

        with afterwards(lambda: self._train(held)), unmarked(self._model):
            with self._room():
                self._train(held, wrapped=True)
            with afterwards(take_out):
                yield self._tuner()

    # Keeping

    @while_open
    def snapshot(self) -> AdapterState:
        past = tuple((p.name, p.spec, _copies(p.params)) for p in self._past.adapters)
        training = self._training
        state = None if training is None else (training.name, training.spec, training.values())
        return AdapterState(past=past, trainable=state, merges=self._merges)

    @while_open
    def restore(self, state: AdapterState) -> None:
        self._check_outside()
        if state.merges != self._merges:
            raise AdapterError(
                "the base weights were merged into since this state was taken",
                hint="open the model afresh and load the adapters from their files",
            )
        past = [Frozen(name, spec, _copies(params)) for name, spec, params in state.past]
        training, wanted = self._training, state.trainable
        kept = (
            training is not None
            and wanted is not None
            and (training.name, training.spec) == wanted[:2]
            and training.parameters().keys() == wanted[2].keys()
        )
        if not kept and training is not None:
            self._drop_training()
        self._past.hold(past)
        if wanted is not None:
            if kept and training is not None:
                training.assign(wanted[2])  # in place: a learner over it stays valid
            else:
                self._train(Frozen(wanted[0], wanted[1], wanted[2]))

    @while_open
    def save(self, path: Path, name: str | None = None) -> None:
        adapter = self._find(name)
        peft_files.write(
            path, adapter.spec, adapter.params, base=self._opened.name, linears=self._linears
        )

    def close(self) -> None:
        """Let go of everything, so that the model can be freed whoever holds this."""
        self._detach_all()
        self._merged = []
        del self._model, self._linears, self._past

    # Inside

    def _enter(self) -> None:
        self._opened.check_open()

    def _shape(self, path: str) -> tuple[int, int]:
        return sizes(self._linears[path])

    def _check_outside(self) -> None:
        if self._inside:
            raise AdapterError("adapters are not changed inside `using`")

    def _check_free(self, name: str, *, training: bool = True) -> None:
        self._check_outside()
        current = self._training.name if self._training is not None and training else None
        lora.check_free(name, {*self.active(), *self._merged_names()}, current)
        if self._training is None:
            refuse_unaccounted(self._model)

    def _merged_names(self) -> list[str]:
        return [adapter.name for adapters in self._merged for adapter in adapters]

    def _unknown(self, name: str) -> AdapterError:
        there = ", ".join(self.active()) or "none"
        return AdapterError(f"no adapter `{name}` is attached", hint=f"attached: {there}")

    def _named_training(self, name: str) -> Trainable:
        if self._training is None or self._training.name != name:
            raise AdapterError(f"`{name}` is not the adapter in training")
        return self._training

    def _find(self, name: str | None) -> Frozen:
        training = self._training
        if training is not None and name in (None, training.name):
            return Frozen(training.name, training.spec, training.values())
        if name is None:
            raise AdapterError("no adapter is in training; name the one to save")
        for adapter in itertools.chain(self._past.adapters, *self._merged):
            if adapter.name == name:
                return adapter
        raise self._unknown(name)

    def _train(self, adapter: Frozen, *, wrapped: bool = False) -> None:
        # In the model's order, as `add` does, so that sums over tensors round alike.
        paths = [path for path in self._linears if lora.name_a(path) in adapter.params]
        self._training = Trainable(
            self._model, adapter.name, adapter.spec, paths, adapter.params, wrapped=wrapped
        )

    def _tuner(self) -> Any:
        return None if self._training is None else self._training.tuner

    def _room(self) -> contextlib.AbstractContextManager[None]:
        return room_for("the adapter", self._opened.device, where="adapter.rank")

    def _drop_training(self) -> None:
        if self._training is not None:
            self._training.remove()
            self._training = None

    def _detach_all(self) -> None:
        self._drop_training()
        self._past.hold([])

    @contextlib.contextmanager
    def _only(self, names: Sequence[str]) -> Iterator[None]:
        training = self._training
        was_on = training is not None and training.enabled
        with self._past.only(names):
            if training is not None:
                training.enable(training.name in names)
            try:
                yield
            finally:
                if training is not None:
                    training.enable(was_on)

    def _probe(self, attached: bool) -> Any:
        with self._only(self.active() if attached else ()):
            return probe_logits(self._opened)


def _copies(params: Params) -> Params:
    return {name: array.copy() for name, array in params.items()}

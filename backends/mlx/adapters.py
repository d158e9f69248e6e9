"""Owns every attachment to an MLX model: what trains, what is frozen, what was merged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from backends import lora, peft_files
from backends.contract import AdapterSpec, AdapterState, MergeReport, Params
from backends.errors import AdapterError
from backends.lifetime import while_open
from backends.mlx import base_weight
from backends.mlx.attached import (
    Attached,
    Factors,
    entries_of,
    leaves,
    names_of,
    to_mlx,
    to_numpy,
)
from backends.mlx.below import Below
from backends.mlx.chain import Chain
from backends.mlx.device import room_for
from backends.mlx.dora import Ground
from backends.mlx.fingerprint import checksum
from backends.mlx.framework import mx, nn, tree_flatten
from backends.mlx.layer import Draws, LoRALinear, replace
from backends.mlx.merge import Change, fold
from backends.mlx.model import Decoder

_NAMES = (lora.name_a, lora.name_b, lora.name_m, lora.name_v, lora.name_s)
OWN = {name("").removeprefix(".") for name in _NAMES}
"""What a layer calls the tensors of adapters; all other parameters are the base's."""


class MlxAdapters:
    """AdapterManager over a Decoder. `model_name` is how adapter files call the base."""

    def __init__(self, decoder: Decoder, model_name: str) -> None:
        self._decoder = decoder
        self._model_name = model_name
        self._linears: dict[str, nn.Module] = decoder.linears()
        self._below = Below(self._linears)
        self._wrapped: dict[str, LoRALinear] = {}
        self._past: list[Attached] = []
        self._merged: list[list[Attached]] = []  # merge by merge
        self._trains: tuple[str, AdapterSpec] | None = None
        self._only: frozenset[str] | None = None
        self.draws = Draws()

    # -- attaching ---------------------------------------------------------------------------

    @while_open
    def add(self, spec: AdapterSpec, name: str) -> None:
        self._check_free(name, training=True)
        paths = lora.select(self._linears, spec.targets)
        tensors: Params = {}
        with room_for("the adapter"):
            for path in paths:
                norms = self._below.norms(path, self._past) if spec.kind == "dora" else None
                sizes = base_weight.sizes(self._linears[path])
                tensors |= lora.initial(spec, path, *sizes, norms)
            self._train(name, spec, tensors)

    @while_open
    def load(self, path: Path, name: str, *, frozen: bool = False) -> None:
        self._check_free(name, training=not frozen)
        sizes = {one: base_weight.sizes(linear) for one, linear in self._linears.items()}
        spec, tensors = peft_files.read(path, sizes)
        with room_for("the adapter"):
            if frozen:
                self._hold([*self._past, Attached(name, spec, to_mlx(tensors))])
            else:
                self._train(name, spec, tensors)

    @while_open
    def freeze(self, name: str) -> None:
        self._check_outside()
        found = self._trained(name)
        with room_for("the frozen adapter"):
            self._hold([*self._past, found])  # first: it may find no room
        self._stop_training()
        self._refresh()

    @while_open
    def unload(self, name: str) -> None:
        self._check_outside()
        if name in names_of(self._gone()):
            raise AdapterError(
                f"`{name}` is merged into the base weights and cannot be taken out",
                hint="open the model again without it",
            )
        if self._trains is not None and name == self._trains[0]:
            self._stop_training()
        elif name in names_of(self._past):
            self._past = [one for one in self._past if one.name != name]
        else:
            raise self._unknown(name)
        self._refresh()

    @while_open
    def restore(self, state: AdapterState) -> None:
        if state.merges != len(self._merged):
            raise AdapterError(
                "the base was merged into since that snapshot, which a restore cannot undo"
            )
        self._check_outside()
        self._past = [Attached(name, spec, to_mlx(held)) for name, spec, held in state.past]
        training, wanted = self._trains, state.trainable
        same = training is not None and wanted is not None and training == wanted[:2]
        if same and wanted is not None and self.arrays().keys() == wanted[2].keys():
            self.put(to_mlx(wanted[2]))  # in place: a learner over it stays valid
        else:
            self._stop_training()
            if wanted is not None:
                self._train(*wanted)
        self._refresh()

    # -- reading -----------------------------------------------------------------------------

    @property
    def training(self) -> tuple[str, AdapterSpec] | None:
        """Name and spec of the adapter in training; another object once another one trains."""
        return self._trains

    @while_open
    def trainable(self) -> dict[str, tuple[int, ...]]:
        found = tree_flatten(self._decoder.net.trainable_parameters())
        return {name: tuple(array.shape) for name, array in found}

    def arrays(self) -> Factors:
        """The trainable tensors themselves, as MLX holds them."""
        found: Factors = {}
        for path, layer in self._wrapped.items():
            if layer.trains:
                found |= {f"{path}.{leaf}": held for leaf, held in layer.tensors().items()}
        return found

    def put(self, arrays: Factors, *, traced: bool = False) -> None:
        """Set trainable tensors, without a copy. Names must be those of `arrays()`. `traced`: for
        a gradient, which lets nothing be kept that was worked out from them."""
        for path, layer in self._wrapped.items():
            if layer.trains:
                layer.take({leaf: arrays[f"{path}.{leaf}"] for leaf in layer.tensors()})
                if not traced:
                    layer.settle()

    @while_open
    def parameters(self) -> Params:
        return to_numpy(self.arrays())

    @while_open
    def active(self) -> tuple[str, ...]:
        trains = (self._trains[0],) if self._trains is not None else ()
        return (*names_of(self._past), *trains)

    @while_open
    def snapshot(self) -> AdapterState:
        past = tuple((one.name, one.spec, to_numpy(one.tensors)) for one in self._past)
        trains = None if self._trains is None else (*self._trains, self.parameters())
        return AdapterState(past=past, trainable=trains, merges=len(self._merged))

    @while_open
    def save(self, path: Path, name: str | None = None) -> None:
        found = self._find(name)
        tensors = to_numpy(found.tensors)
        peft_files.write(path, found.spec, tensors, base=self._model_name, linears=self._linears)

    @while_open
    def base_fingerprint(self) -> dict[str, int]:
        """The layers that are wrapped are read under their own names, so that attaching an
        adapter changes no key and no value."""
        found: dict[str, int] = {}
        for name, tensor in tree_flatten(self._decoder.net.parameters()):
            *parents, leaf = name.split(".")
            if leaf in OWN and ".".join(parents) in self._wrapped:
                continue
            if parents[-1:] == ["base"] and ".".join(parents[:-1]) in self._wrapped:
                parents.pop()
            found[".".join([*parents, leaf])] = checksum(tensor)
        return found

    @while_open
    @contextlib.contextmanager
    def using(self, names: Sequence[str]) -> Iterator[None]:
        merged = [name for name in names_of(self._gone()) if name not in names]
        if merged:
            raise AdapterError(
                f"merged adapters cannot be left out: {', '.join(merged)}",
                hint="name them, or open the model again",
            )
        for name in names:
            if name not in (*names_of(self._gone()), *self.active()):
                raise self._unknown(name)
        before, self._only = self._only, frozenset(names)
        try:
            self._refresh()
            yield
        finally:
            self._only = before
            if not self._decoder.closed:
                self._enter()  # what ran inside may have been another session
                self._refresh()

    # -- merging -----------------------------------------------------------------------------

    @while_open
    def merge_and_unload(self, bound: float = 0.1) -> MergeReport:
        self._check_outside()
        attached = [*self._past, *([] if self._trains is None else [self._find(None)])]
        if not attached:
            raise AdapterError("no adapter is attached, so there is nothing to merge")
        changes = self._changes(attached)
        with room_for("a merge"):
            try:
                report = fold(self._decoder, changes, bound, self._everything)
            except BaseException:
                self._below.forget()
                self._refresh()  # what acts was worked out over weights that are no longer there
                raise
        self._stop_training()
        self._past = []
        self._merged.append(attached)
        self._below.forget()
        self._refresh()
        return report

    def _changes(self, attached: list[Attached]) -> list[Change]:
        changes = []
        for path, linear in self._linears.items():
            if now := entries_of(attached, path):
                earlier = [entries_of(group, path) for group in self._merged]
                changes.append(Change(path, linear, earlier, now))
        return changes

    @contextlib.contextmanager
    def _everything(self, acts: bool) -> Iterator[None]:
        """Everything attached, its factors in float32, or the base weights alone."""
        if acts:
            self._refresh(mx.float32)
        else:
            self._only = frozenset()
            self._refresh()
        try:
            yield
        finally:
            self._only = None
            self._refresh()

    def close(self) -> None:
        """Let go of the model and of everything attached to it."""
        self._stop_training()
        self._past, self._merged = [], []
        self._wrapped, self._linears = {}, {}
        self._below = Below({})

    # -- inside ------------------------------------------------------------------------------

    def _enter(self) -> None:
        self._decoder.enter()

    def _hold(self, past: list[Attached]) -> None:
        """Let `past` be the frozen past; where there is no room for it, what was before."""
        before, self._past = self._past, past
        try:
            self._refresh()
        except BaseException:
            self._past = before
            raise

    def _train(self, name: str, spec: AdapterSpec, tensors: Params) -> None:
        held = to_mlx(tensors)  # may find no room: nothing is changed before
        for path in self._linears:
            if lora.name_a(path) in held:
                own = {leaf: held[f"{path}.{leaf}"] for leaf in leaves(spec)}
                self._wrap(path).train_with(spec, own)
        self._trains = (name, spec)
        try:
            self._refresh()
        except BaseException:
            self._stop_training()
            raise

    def _stop_training(self) -> None:
        for layer in self._wrapped.values():
            layer.untrain()
        self._trains = None

    def _wrap(self, path: str) -> LoRALinear:
        if path not in self._wrapped:
            self._wrapped[path] = LoRALinear(self._linears[path], path, self.draws)
        return self._wrapped[path]

    def _refresh(self, dtype: mx.Dtype | None = None) -> None:
        """Bring every layer to what acts now; a layer where nothing does is the base's own. All
        factors are computed before any layer is changed, so running out of room changes none."""
        acting = [one for one in self._past if self._only is None or one.name in self._only]
        trains = self._trains is not None and (self._only is None or self._trains[0] in self._only)
        over = trains and self._trains is not None and self._trains[1].kind == "dora"
        precision = dtype or self._decoder.dtype
        made: dict[str, tuple[Chain | None, Ground | None]] = {}
        for path in self._linears:
            chain = self._below.chain(path, acting)
            trained = path in self._wrapped and self._wrapped[path].trains
            ground = self._below.ground(path, chain) if over and trained else None
            made[path] = (None if chain is None else chain.rounded(precision), ground)
        for path, linear in self._linears.items():
            past, ground = made[path]
            if past is None and path not in self._wrapped:
                continue
            layer = self._wrap(path)
            layer.act(past, ground, trains)
            replace(self._decoder.net, path, linear if layer.idle else layer)
            if layer.idle and not layer.trains:
                del self._wrapped[path]

    def _gone(self) -> list[Attached]:
        """What is merged, in order."""
        return [one for group in self._merged for one in group]

    def _find(self, name: str | None) -> Attached:
        if self._trains is not None and name in (None, self._trains[0]):
            return Attached(*self._trains, self.arrays())
        for one in (*self._past, *self._gone()):
            if one.name == name:
                return one
        if name is None:
            raise AdapterError("no adapter is in training")
        raise self._unknown(name)

    def _trained(self, name: str) -> Attached:
        if self._trains is None or self._trains[0] != name:
            raise AdapterError(f"`{name}` is not the adapter in training")
        return self._find(name)

    def _check_free(self, name: str, *, training: bool) -> None:
        self._check_outside()
        taken = (*names_of(self._gone()), *self.active())
        trains = self._trains[0] if self._trains is not None and training else None
        lora.check_free(name, taken, trains)

    def _check_outside(self) -> None:
        if self._only is not None:
            raise AdapterError("adapters are not attached or removed inside `using`")

    def _unknown(self, name: str) -> AdapterError:
        here = ", ".join(self.active()) or "none"
        return AdapterError(f"no adapter `{name}` is attached", hint=f"attached: {here}")

"""A stopped run gone on with: looked at, mended, and carried out from where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backends import choose
from backends.contract import Session
from mindprint.boundary import check_boundary, check_trained, finished
from mindprint.cli import output
from mindprint.cli.execute import carry_out, going_on_with, tell
from mindprint.cli.interrupt import Stop, asked_to_stop
from mindprint.cli.memory import settled as with_outlook
from mindprint.cli.prepare import Material, Prepared, gather, planned
from mindprint.config import Resolved
from mindprint.disk.hold import Hold
from mindprint.errors import ConfigError
from mindprint.heritage import Kept
from mindprint.inputs import (
    FILE,
    Inputs,
    absolute,
    moved,
    read_inputs,
    settled,
    with_given,
    write_inputs,
)
from mindprint.rundir import RunDir
from mindprint.sameness import (
    DEFAULTS,
    FREE,
    PLACES,
    Difference,
    Differs,
    Present,
    check,
    fork_command,
    freely_changed,
    kept_config,
    opened_differently,
    write_config_again,
)


@dataclass(frozen=True)
class Wish:
    """What the command line asks for beside the run's own: "" and None where it does not."""

    backend: str
    device: str
    config: Path | None
    settings: tuple[str, ...]
    model: str | None
    curriculum: Path | None

    def words(self) -> tuple[str, ...]:
        """The options as they are typed, for a command that is to ask the same."""
        pairs = (
            ("--backend", self.backend),
            ("--device", self.device),
            ("--config", self.config),
            *(("--set", setting) for setting in self.settings),
            ("--model", self.model),
            ("--curriculum", self.curriculum),
        )
        return tuple(str(word) for pair in pairs if pair[1] not in ("", None) for word in pair)

    def on_top_of(self, own: Resolved) -> Resolved:
        """The settings asked for over the run's own."""
        resolved = with_given(own, self.config, self.settings)
        return moved(resolved, self.model, "--model") if self.model is not None else resolved

    def gathered(self, inputs: Inputs, resolved: Resolved, run: Path) -> Material:
        """Everything but the weights, from where it lies now. Raises ConfigError when it is gone
        from where it lay."""
        known, where = check_trained(run, inputs), str(run / FILE)
        place = self.curriculum or known
        if self.curriculum is None and not place.is_dir():
            hint = "name where it lies now with `--curriculum PATH`"
            raise ConfigError(f"the curriculum is gone from `{place}`", where=where, hint=hint)
        lay = Path(inputs.model)
        if resolved.config.model.path == inputs.model and lay.is_absolute() and not lay.is_dir():
            hint = "name where it lies now with `--model PATH`"
            raise ConfigError(f"the model is gone from `{lay}`", where=where, hint=hint)
        backend = choose(self.backend or inputs.backend).name
        made_on = inputs.device if backend == inputs.backend else "auto"  # each has its own
        asked = self.backend or inputs.backend
        found = gather(place, resolved, asked, self.device or made_on, inputs.dtype)
        if self.backend:
            return found
        return replace(found, backend=replace(found.backend, because="as the run began"))


def go_on(path: Path, wish: Wish, as_json: bool) -> None:
    """Ends with exit code 1 if a topic failed. Raises Differs when the run would not be the same,
    ConfigError when another process writes it, Damaged when what is there cannot be built on."""
    inputs, run = read_inputs(path), RunDir(path)
    check_trained(path, inputs)
    Hold(path).check()
    with asked_to_stop() as stop, going_on_with(path):
        begun = _begun(run)
        prepared = _looked_at(run, begun, wish)
        try:
            said = run.lock()
            now = _begun(run)
            if now != begun:  # another process wrote here before the lock was ours
                begun, prepared = now, _looked_at(run, now, wish)
            continued(run, begun.inputs, prepared, wish, stop, as_json, (*said, *begun.mended))
        finally:
            run.release()


@dataclass(frozen=True)
class _Begun:
    """What a run's folder says of its beginning, and what is to be said of that."""

    inputs: Inputs
    kept: Resolved
    mended: tuple[str, ...]


def _begun(run: RunDir) -> _Begun:
    inputs = read_inputs(run.path)
    return _Begun(inputs, *kept_config(run, inputs))


def _looked_at(run: RunDir, begun: _Begun, wish: Wish) -> Prepared:
    """What the run goes on with. Raises Differs when that is not what it began with."""
    inputs = begun.inputs
    material = wish.gathered(inputs, wish.on_top_of(begun.kept), run.path)
    check(run.path, inputs, present(material, inputs.topics), wish.words())
    return over_past(planned(material, inputs.topics), run)


def over_past(prepared: Prepared, run: RunDir) -> Prepared:
    """The same, planned with the room of the adapters that the run began with. Raises Damaged."""
    past = Kept.of(run)
    if not past.entries:
        return prepared
    return replace(prepared, plan=prepared.plan.with_past(past.size(run), past.branches))


def present(material: Material, topics: Sequence[str]) -> Present:
    """What the run would go on with."""
    return Present.of(
        material.resolved,
        material.curriculum,
        topics,
        material.folder,
        material.renderer,
        material.libraries(),
        material.backend.name,
    )


def continued(
    run: RunDir,
    inputs: Inputs,
    prepared: Prepared,
    wish: Wish,
    stop: Stop,
    as_json: bool,
    said: Sequence[str] = (),
) -> None:
    """Mend what can be mended in the folder, which is locked, and do what is missing there.

    A run in which nothing is missing gets its reports again, without a model. Raises TooLarge.
    """
    from mindprint.repair import repair

    said = (*said, *repair(run, inputs.topics))
    result = finished(run, inputs.topics)
    if result is not None:
        _keep(run, inputs, _carried(inputs, prepared, wish, None))
        output.note(*said)
        if inputs.made_by_drop:
            output.note("nothing is left to do: `mindprint drop` made this run whole")
        tell(result, run.path, as_json)
        return
    _check_change(run, inputs, prepared, wish, None)
    if prepared.outlook is None:
        prepared = with_outlook(
            prepared, lambda words: fork_command(run.path, (*wish.words(), *words))
        )

    def begin(session: Session) -> Sequence[str]:
        info = session.info
        if info.dtype != inputs.dtype:
            found = [Difference("dtype", inputs.dtype, info.dtype)]
            raise Differs(run.path, found, asked=wish.words())
        _check_change(run, inputs, prepared, wish, session)
        _keep(run, inputs, _carried(inputs, prepared, wish, session))
        told = freely_changed(inputs, prepared.resolved)
        if prepared.backend.name != inputs.backend:
            return (*told, f"from here on with {prepared.backend.name}, before {inputs.backend}")
        if not inputs.opened_on:
            return told
        if wish.device and info.device != inputs.opened_on:
            return (
                *told,
                f"from here on the device is `{info.device}`, before `{inputs.opened_on}`",
            )
        return (*told, *opened_differently(inputs, info.device, info.threads, info.blas))

    carry_out(prepared, run, stop, begin, as_json, said)


def _check_change(
    run: RunDir, inputs: Inputs, prepared: Prepared, wish: Wish, session: Session | None
) -> None:
    """Raises ConfigError when another backend or device is asked for while a topic is under way:
    before a weight is loaded where the names tell, and with the `session` that it opened."""
    if prepared.backend.name != inputs.backend:
        check_boundary(run, inputs.topics, "--backend", inputs.backend, wish.words())
    elif wish.device and inputs.opened_on:
        opened = session.info.device if session is not None else wish.device
        same = {inputs.opened_on}
        if session is None:  # `auto`, and `gpu` where there is one, may become what they were
            same |= {"auto", inputs.device, *({"gpu"} if inputs.opened_on != "cpu" else ())}
        if opened not in same:
            check_boundary(run, inputs.topics, "--device", inputs.opened_on, wish.words())


def _carried(inputs: Inputs, prepared: Prepared, wish: Wish, session: Session | None) -> Inputs:
    """The inputs as they are from here on: where things lie, and what may change on the way.

    Another backend or device takes effect with the session that it opened.
    """
    now = prepared.resolved
    keys = {*FREE, *(PLACES if wish.model is not None else ())}
    values = {key: value for key, value in settled(now).items() if key in keys}
    began = {**DEFAULTS, **inputs.config}
    changed = [key for key, value in values.items() if value != began[key]]
    carried = replace(
        inputs,
        curriculum=prepared.curriculum.root.resolve(),
        model=absolute(prepared.model),
        config={**inputs.config, **values},
        origins={**inputs.origins, **{k: now.origins[k] for k in changed if k in now.origins}},
    )
    if session is None:
        return carried
    backend, info = prepared.backend.name, session.info
    carried = replace(carried, device=prepared.device)
    other = backend != inputs.backend or (wish.device and info.device != inputs.opened_on)
    if not other and inputs.opened_on:
        return carried
    return replace(
        carried,
        backend=backend,
        opened_on=info.device,
        threads=info.threads,
        blas=info.blas,
        versions={**prepared.libraries(), **inputs.versions},
    )


def _keep(run: RunDir, before: Inputs, now: Inputs) -> None:
    """Write down what changed. A run that was stopped before it wrote its settings does so itself
    as it begins."""
    if now != before:
        write_inputs(run.path, now)
    began = any((run.path / name).is_file() for name in ("config.yaml", "ledger.json"))
    if began and (now.config != before.config or kept_config(run, now)[1]):
        write_config_again(run, now)

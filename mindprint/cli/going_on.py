"""A stopped run gone on with: looked at, mended, and carried out from where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backends.contract import Session
from mindprint.boundary import check_boundary, finished
from mindprint.cli import output
from mindprint.cli.execute import carry_out, going_on_with, tell
from mindprint.cli.interrupt import Stop, asked_to_stop
from mindprint.cli.prepare import Material, Prepared, gather, planned
from mindprint.config import Resolved
from mindprint.disk.hold import Hold
from mindprint.errors import ConfigError
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
    FREE,
    PLACES,
    Difference,
    Differs,
    Present,
    check,
    freely_changed,
    kept_config,
    opened_differently,
    versions,
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

    def on_top_of(self, own: Resolved) -> Resolved:
        """The settings asked for over the run's own."""
        resolved = with_given(own, self.config, self.settings)
        return moved(resolved, self.model, "--model") if self.model is not None else resolved

    def gathered(self, inputs: Inputs, resolved: Resolved, run: Path) -> Material:
        """Everything but the weights, from where it lies now. Raises ConfigError when it is gone
        from where it lay."""
        place = self.curriculum or inputs.curriculum
        where = str(run / FILE)
        if self.curriculum is None and not place.is_dir():
            hint = "name where it lies now with `--curriculum PATH`"
            raise ConfigError(f"the curriculum is gone from `{place}`", where=where, hint=hint)
        lay = Path(inputs.model)
        if resolved.config.model.path == inputs.model and lay.is_absolute() and not lay.is_dir():
            hint = "name where it lies now with `--model PATH`"
            raise ConfigError(f"the model is gone from `{lay}`", where=where, hint=hint)
        known = "auto" if self.backend else inputs.device  # a backend has devices of its own
        backend, device = self.backend or inputs.backend, self.device or known
        found = gather(place, resolved, backend, device, inputs.dtype)
        if self.backend:
            return found
        return replace(found, backend=replace(found.backend, because="as the run began"))


def go_on(path: Path, wish: Wish, as_json: bool) -> None:
    """Ends with exit code 1 if a topic failed. Raises Differs when the run would not be the same,
    ConfigError when another process writes it, Damaged when what is there cannot be built on."""
    inputs = read_inputs(path)
    run = RunDir(path)
    Hold(path).check()
    with asked_to_stop() as stop, going_on_with(path):
        kept, mended = kept_config(run, inputs)
        resolved = wish.on_top_of(kept)
        material = wish.gathered(inputs, resolved, path)
        check(path, inputs, present(material, inputs.topics))
        prepared = planned(material, inputs.topics)
        try:
            said = (*run.lock(), *mended)
            continued(run, inputs, prepared, wish, stop, as_json, said)
        finally:
            run.release()


def present(material: Material, topics: Sequence[str]) -> Present:
    """What the run would go on with."""
    return Present.of(
        material.resolved,
        material.curriculum,
        topics,
        material.folder,
        material.renderer,
        material.libraries(),
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

    A run in which nothing is missing gets its reports again, without a model.
    """
    from mindprint.repair import repair

    said = (*said, *repair(run, inputs.topics))
    changed = prepared.backend.name != inputs.backend
    result = finished(run, inputs.topics)
    if result is not None:
        _keep(run, inputs, _carried(inputs, prepared, wish, None))
        output.note(*said)
        tell(result, run.path, as_json)
        return
    if changed:
        check_boundary(run, inputs.topics, inputs.backend, prepared.backend.name)

    def begin(session: Session) -> Sequence[str]:
        info = session.info
        if info.dtype != inputs.dtype:
            raise Differs(run.path, [Difference("dtype", inputs.dtype, info.dtype)])
        _keep(run, inputs, _carried(inputs, prepared, wish, session))
        told = freely_changed(inputs, prepared.resolved)
        if changed:
            return (*told, f"from here on with {prepared.backend.name}, before {inputs.backend}")
        if not inputs.opened_on:
            return told
        return (*told, *opened_differently(inputs, info.device, info.threads, info.blas))

    carry_out(prepared, run, stop, begin, as_json, said)


def _carried(inputs: Inputs, prepared: Prepared, wish: Wish, session: Session | None) -> Inputs:
    """The inputs as they are from here on: where things lie, and what may change on the way.

    Another backend or device takes effect with the session that it opened.
    """
    now = prepared.resolved
    keys = {*FREE, *(PLACES if wish.model is not None else ())}
    values = {key: value for key, value in settled(now).items() if key in keys}
    changed = [key for key, value in values.items() if value != inputs.config[key]]
    carried = replace(
        inputs,
        curriculum=prepared.curriculum.root.resolve(),
        model=absolute(prepared.model),
        config={**inputs.config, **values},
        origins={**inputs.origins, **{k: now.origins[k] for k in changed if k in now.origins}},
    )
    if session is None:
        return carried
    backend = prepared.backend.name
    if backend == inputs.backend and not wish.device and inputs.opened_on:
        return carried
    info = session.info
    return replace(
        carried,
        backend=backend,
        device=prepared.device,
        opened_on=info.device,
        threads=info.threads,
        blas=info.blas,
        versions={**versions(prepared.libraries()), **inputs.versions},
    )


def _keep(run: RunDir, before: Inputs, now: Inputs) -> None:
    """Write down what changed. A run that was stopped before it wrote its settings does so itself
    as it begins."""
    if now != before:
        write_inputs(run.path, now)
    began = any((run.path / name).is_file() for name in ("config.yaml", "ledger.json"))
    if began and (now.config != before.config or kept_config(run, now)[1]):
        write_config_again(run, now)

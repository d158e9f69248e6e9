"""`mindprint plan`: what `train` would do, before it does it."""

from __future__ import annotations

from typing import Annotated

import typer

from mindprint.cli.options import (
    BackendName,
    ConfigFile,
    CurriculumPath,
    Device,
    Json,
    ModelPath,
    Settings,
    Topics,
)

Probe = Annotated[
    bool, typer.Option("--probe", help="open the model and take a few steps to tell the time")
]


def plan(
    curriculum: CurriculumPath,
    model: ModelPath = None,
    backend: BackendName = "auto",
    device: Device = "auto",
    config: ConfigFile = None,
    settings: Settings = None,
    topics: Topics = None,
    probe: Probe = False,
    as_json: Json = False,
) -> None:
    """Print stages, steps, tokens, rows cut, memory and operations; with --probe speed and time.

    Ends with exit code 2 where the run would not fit in memory, with the largest that would.
    """
    from mindprint.cli import output
    from mindprint.cli.memory import settled
    from mindprint.cli.prepare import configured, prepare

    resolved = configured(config, settings, model)
    prepared = settled(prepare(curriculum, resolved, backend, device, topics))
    lines, tree = prepared.lines(), prepared.plan.as_json()
    if prepared.outlook is not None:
        tree["memory"] = prepared.outlook.as_json()
        tree["operations"] = dict(prepared.outlook.operations)
    if prepared.plan.footprint is not None:
        tree["disk"] = {"sure": prepared.plan.footprint.sure, "most": prepared.plan.footprint.most}
    if probe:
        from mindprint.cli.estimate import estimate, told

        found = estimate(prepared)
        lines += told(found)
        if prepared.engine.name != "native":
            lines.append(("timed", "native steps", f"`{prepared.engine.name}` takes its own time"))
        tree["probe"] = found.as_json()
    else:
        lines.append(("time", "not measured", "`--probe` opens the model and takes a few steps"))
    if as_json:
        output.result(tree)
    else:
        output.lines(lines)

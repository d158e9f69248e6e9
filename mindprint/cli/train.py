"""`mindprint train`: a curriculum into a model, topic by topic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mindprint.cli.options import (
    BackendName,
    ConfigFile,
    CurriculumPath,
    Device,
    EngineName,
    Json,
    ModelPath,
    Out,
    Settings,
    Topics,
)

if TYPE_CHECKING:
    from mindprint.cli.prepare import Prepared
    from mindprint.heritage import Heritage

From = Annotated[
    Path | None,
    typer.Option("--from", metavar="RUN", help="begin with the adapters that RUN has in force"),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TOPIC", help="with --from: take nothing after this topic"),
]


def train(
    curriculum: CurriculumPath,
    model: ModelPath = None,
    backend: BackendName = "auto",
    engine: EngineName = None,
    device: Device = "auto",
    config: ConfigFile = None,
    settings: Settings = None,
    out: Out = None,
    topics: Topics = None,
    past: From = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Train a curriculum into a model, topic by topic, and write a report.

    With --from the model begins with all that another run has in force, trained or adopted.
    Ends with exit code 1 when the run finished but a topic did not reach its pass mark.
    """
    from mindprint.cli.execute import default_out, new_run
    from mindprint.cli.prepare import configured, prepare

    heritage = _heritage(past, until)
    resolved = configured(config, settings, model, engine=engine)
    if heritage is not None:
        resolved = heritage.with_model(resolved)
    prepared = prepare(curriculum, resolved, backend, device, topics)
    if heritage is not None:
        prepared = _over(prepared, heritage)
    place = out or default_out(curriculum.resolve().name)
    new_run(prepared, place, as_json, past=heritage)


def _heritage(past: Path | None, until: str | None) -> Heritage | None:
    from mindprint.errors import ConfigError
    from mindprint.heritage import Heritage

    if past is not None:
        return Heritage.of(past, until)
    if until is not None:
        hint = "add `--from RUN`: `--until` says how much of that run is taken"
        raise ConfigError("`--until` is for `--from`", where="--until", hint=hint)
    return None


def _over(prepared: Prepared, heritage: Heritage) -> Prepared:
    """The same, seen to go together with what the run begins with, and planned with its room."""
    from dataclasses import replace

    from backends.model_files import model_id
    from mindprint.footprint import read_sizes
    from mindprint.sameness import tokenizer_id

    topics = [lesson.topic.id for lesson in prepared.plan.lessons]
    linears = read_sizes(prepared.folder).linears
    config = prepared.resolved.config
    tokens = tokenizer_id(prepared.renderer, prepared.folder)
    found = model_id(prepared.folder, config.model.quantization, prepared.backend.name)
    heritage.check(config, topics, found, tokens, linears)
    return replace(prepared, plan=prepared.plan.with_past(heritage.size, heritage.branches))

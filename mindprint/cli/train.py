"""`mindprint train`: a curriculum into a model, topic by topic."""

from __future__ import annotations

from mindprint.cli.options import (
    BackendName,
    ConfigFile,
    CurriculumPath,
    Device,
    Json,
    ModelPath,
    Out,
    Settings,
    Topics,
)


def train(
    curriculum: CurriculumPath,
    model: ModelPath = None,
    backend: BackendName = "auto",
    device: Device = "auto",
    config: ConfigFile = None,
    settings: Settings = None,
    out: Out = None,
    topics: Topics = None,
    as_json: Json = False,
) -> None:
    """Train a curriculum into a model, topic by topic, and write a report.

    Ends with exit code 1 when the run finished but a topic did not reach its pass mark.
    """
    from mindprint.cli.execute import default_out, new_run
    from mindprint.cli.prepare import configured, prepare

    resolved = configured(config, settings, model)
    prepared = prepare(curriculum, resolved, backend, device, topics)
    new_run(prepared, out or default_out(curriculum.resolve().name), as_json)

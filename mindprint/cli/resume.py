"""`mindprint resume`: go on with a run that was stopped."""

from __future__ import annotations

from mindprint.cli.options import BackendName, Device, Json, RunPath


def resume(
    run: RunPath, backend: BackendName = "", device: Device = "", as_json: Json = False
) -> None:
    """Go on where a run stopped, with its own settings; nothing that is finished is done again."""
    from mindprint.cli.execute import resumed_run
    from mindprint.cli.prepare import configured, prepare
    from mindprint.inputs import FILE, read_inputs, unchanged

    inputs = read_inputs(run)
    resolved = configured(run / "config.yaml", (), inputs.model, str(run / FILE))
    prepared = prepare(
        inputs.curriculum,
        resolved,
        backend or inputs.backend,
        device or inputs.device,
        inputs.topics,
    )
    unchanged(prepared.curriculum, inputs, run)
    resumed_run(prepared, run, as_json)

"""`mindprint demo`: the model and the author that ship with the package, end to end."""

from __future__ import annotations

from mindprint.cli.options import BackendName, Device, Json, Out, Settings


def demo(
    backend: BackendName = "auto",
    device: Device = "auto",
    settings: Settings = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Teach the small model that ships with mindprint its invented author. Needs no download."""
    from mindprint.cli.execute import default_out, new_run
    from mindprint.cli.prepare import configured, prepare
    from mindprint.cli.shipped import CONFIG, CURRICULUM, MODEL

    resolved = configured(CONFIG, settings, str(MODEL), "demo")
    prepared = prepare(CURRICULUM, resolved, backend, device)
    new_run(prepared, out or default_out("demo"), as_json, called="mindprint's demo model")

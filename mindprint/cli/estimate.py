"""What `plan --probe` adds: the model opened, a few steps taken and undone, the time they tell."""

from __future__ import annotations

from mindprint.cli.prepare import Prepared, open_model
from mindprint.probe import Probe, probe
from mindprint.report.words import seconds, size


def estimate(prepared: Prepared) -> Probe:
    session = open_model(prepared)
    try:
        config = prepared.resolved.config
        return probe(session, prepared.plan, prepared.curriculum, config, prepared.renderer)
    finally:
        session.close()


def told(found: Probe) -> list[tuple[str, str, str]]:
    lines = [("sft step", f"{found.sft_step:.3f} s", "on the longest rows there are")]
    if found.dpo_step:
        lines.append(("dpo step", f"{found.dpo_step:.3f} s", "on the longest pairs there are"))
    lines += [
        ("question", f"{found.question:.3f} s", "answered in a batch"),
        ("time", f"at most about {seconds(found.total)}", "without retries"),
        ("memory", size(found.peak_memory), "at most, in these steps"),
    ]
    return lines

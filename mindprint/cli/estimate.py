"""What `plan --probe` adds: the model opened, a few steps taken and undone, the time they tell."""

from __future__ import annotations

import time

from mindprint.cli.prepare import Prepared, open_model
from mindprint.probe import Probe, probe
from mindprint.report.words import seconds, size


def estimate(prepared: Prepared) -> Probe:
    started = time.perf_counter()
    session = open_model(prepared)
    opening = time.perf_counter() - started
    try:
        config = prepared.resolved.config
        found = (prepared.plan, prepared.curriculum, config, prepared.renderer)
        return probe(session, *found, opening)
    finally:
        session.close()


def told(found: Probe) -> list[tuple[str, str, str]]:
    over, throughout = "", "on one adapter"
    if found.branches:
        over = f", over {found.branches} branches; {found.sft_first:.3f} s in the first topic"
        throughout = "all as slow as the last topic"
    lines = [("sft step", f"{found.sft_step:.3f} s", f"on the longest rows there are{over}")]
    if found.dpo_step:
        note = f"on the longest pairs there are; the reference {found.reference:.3f} s a pair, once"
        lines.append(("dpo step", f"{found.dpo_step:.3f} s", note))
    lines += [
        ("question", f"{found.question:.3f} s", "answered and weighed in a batch"),
        ("time", f"at most about {seconds(found.total)}", f"without retries, {throughout}"),
        ("memory, measured", size(found.peak_memory), "at most, in these steps"),
    ]
    return lines

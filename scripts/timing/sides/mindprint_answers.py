"""mindprint's side of answering: all questions at once through a session, greedily, with no end
token, so that each answer has all its tokens."""

from __future__ import annotations

import time

from backends import get
from backends.contract import GenerateSpec
from timing import data, work
from timing.protocol import Outcome, Spec, run
from timing.sides.mindprint_train import opened


def side(spec: Spec) -> Outcome:
    """Raises what the session raises; ValueError for an option, since there is none."""
    if spec.options:
        raise ValueError(f"mindprint's side has no option {', '.join(sorted(spec.options))}")
    prompts = [sample.prompt for sample in data.read(spec.data)[: spec.questions]]
    session = opened(spec, max(map(len, prompts)) + spec.max_tokens)
    loaded, first = work.resident(), session.memory().device
    began = time.perf_counter()
    answers = session.generate(prompts, GenerateSpec(max_tokens=spec.max_tokens, stop_ids=()))
    seconds = time.perf_counter() - began
    made = work.Work()
    for answer in answers:
        made.row(answer.ids, len(answer.ids))
    return Outcome(
        seconds=seconds,
        rows=made.rows,
        trained_tokens=made.tokens,
        loaded_rss=loaded,
        peak_rss=work.peak(),
        versions=dict(get(spec.backend).availability().versions),
        details={
            **made.details,
            "device_loaded": first,
            "device_peak": session.memory().device_peak,
        },
    )


if __name__ == "__main__":
    run(side)

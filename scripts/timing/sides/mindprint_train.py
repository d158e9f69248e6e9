"""mindprint's side of training: SFT, or DPO with its reference pass, through a session.

Options: `order` `file` (as the data stand, default) or `buckets` (rows of like length together, as
a stage does it); `sharing` false runs a prompt once for each of its rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backends import get, prefix
from backends.contract import AdapterSpec, ModelSpec, Objective, OptimizerSpec, Session
from mindprint.preferences import reference_logprobs
from mindprint.tokens.batches import pad, window_of
from mindprint.tokens.lessons import Pair
from mindprint.tokens.render import Row
from timing import data, work
from timing.protocol import Outcome, Spec, run
from timing.sides.rows import batch_of, order, rows_of


@dataclass
class Steps:
    """What the steps took and gave."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    fed: work.Work = field(default_factory=work.Work)


def side(spec: Spec) -> Outcome:
    """Raises what the session raises; ValueError for an option that is not known."""
    if unknown := sorted(set(spec.options) - {"order", "sharing"}):
        raise ValueError(f"mindprint's side has no option {', '.join(unknown)}")
    if not spec.options.get("sharing", True):
        prefix.WORTH = 0.0  # no batch leaves this little, so none is shared
    samples = data.read(spec.data)
    session = opened(spec, max(len(row) for one in samples for row in one.rows))
    loaded = work.resident()
    first = session.memory().device
    adapter = AdapterSpec(rank=spec.rank, alpha=spec.alpha, targets=spec.targets)
    session.adapters.add(adapter, "bench")
    started = time.perf_counter()
    reference = weighed(session, samples, spec)
    referred = time.perf_counter()
    steps = trained(session, samples, reference, spec)
    ended = time.perf_counter()
    memory = session.memory()
    return Outcome(
        seconds=ended - started,
        rows=steps.fed.rows,
        trained_tokens=steps.fed.tokens,
        loaded_rss=loaded,
        peak_rss=work.peak(),
        step_seconds=steps.seconds,
        losses=steps.losses,
        versions=dict(get(spec.backend).availability().versions),
        parts={"reference": referred - started, "steps": ended - referred},
        details={
            **steps.fed.details,
            "blas": session.info.blas,
            "threads": session.info.threads,
            "device_loaded": first,
            "device_peak": memory.device_peak,
        },
    )


def opened(spec: Spec, longest: int) -> Session:
    """The model, with every weight touched once: a file may be read as late as that."""
    model = ModelSpec(spec.model, dtype=spec.dtype, device=spec.device, longest_row=longest)  # type: ignore[arg-type]
    session = get(spec.backend).open(model)
    session.logprobs(pad([Row(ids=(1, 3), mask=(False, True), cut=False)]))
    return session


def weighed(
    session: Session, samples: Sequence[data.Sample], spec: Spec
) -> NDArray[np.float32] | None:
    """The reference's log-probabilities of each pair, once for the stage; None for SFT."""
    if spec.kind != "dpo":
        return None
    pairs = [Pair(*rows_of(sample)) for sample in samples]
    return reference_logprobs(session, pairs, spec.batch)


def trained(
    session: Session,
    samples: Sequence[data.Sample],
    reference: NDArray[np.float32] | None,
    spec: Spec,
) -> Steps:
    """`spec.steps` optimizer steps, one batch each."""
    learner = session.learner(Objective(spec.kind, beta=spec.beta), OptimizerSpec())  # type: ignore[arg-type]
    steps = Steps()
    for places in order(samples, spec):
        began = time.perf_counter()
        batch = batch_of([samples[place] for place in places], reference, places)
        found = learner.accumulate(batch, window_of([batch]))
        learner.apply(spec.rate, None)
        steps.seconds.append(time.perf_counter() - began)
        steps.losses.append(found.loss)
        for ids, length, mask in zip(batch.ids, batch.lengths, batch.mask, strict=True):
            steps.fed.row(ids[:length].tolist(), int(mask.sum()))
    return steps


if __name__ == "__main__":
    run(side)

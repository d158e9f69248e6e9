"""Whether an export is the run's model: its logits and answers, as other libraries give them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mindprint.errors import Exit, MindprintError
from mindprint.export.exact import Exact, Ground, distance
from mindprint.export.witness import Framework, Job, NotHere, Seen, installed, witness
from mindprint.report.scores import Frozen

BOUND = 0.1
"""As a merge in training: the largest share of the adapters' effect on the logits that may be
lost."""
OTHERWISE = 3.0
"""So many times another library's loss from the same files is no rounding of theirs: two libraries
were within 1.1 of each other wherever both compute the model alike."""


class ExportRefused(MindprintError):
    """What was written is not the run's model; it is taken away again."""

    exit = Exit.GATE


class Verified(Frozen):
    """What one library made of the export, in a process of its own.

    `lost`: norm of (its logits - the exact ones) over norm of (exact - base), over `positions`
    token positions; `worst`: the largest distance of one logit. `answers` of `asked` greedy
    answers are equal, and `tokens` of `tokens_of` places in them. `dtype`: of the arithmetic.
    """

    framework: Framework
    version: str
    dtype: str
    positions: int
    lost: float
    worst: float
    answers: int
    asked: int
    tokens: int
    tokens_of: int


class Checked(Frozen):
    """`verified`: by library. `unverified`: libraries that were not asked, and why. `exact`: the
    backend and the arithmetic that the run's own model was asked with. `topics`: whose quiz the
    probes are from, () where they are plain questions."""

    bound: float
    exact: str
    topics: tuple[str, ...]
    verified: tuple[Verified, ...]
    unverified: dict[str, str]

    @property
    def lost(self) -> float:
        """The worst that a library found; 0 where none was asked."""
        return max((one.lost for one in self.verified), default=0.0)


def verify(
    ground: Ground,
    folder: Path,
    adapter: Path | None = None,
    frameworks: Sequence[Framework] = ("transformers", "mlx-lm"),
) -> Checked:
    """Open `folder`, with `adapter` on it, in a fresh process with each of `frameworks` that is
    installed, and set what it gives beside the run's own model.

    Raises WitnessFailed for one that does not open it. What the bound says is `check_bound`'s.
    """
    exact, here = ground.exact, installed()
    verified: list[Verified] = []
    unverified: dict[str, str] = {}
    for framework in frameworks:
        if framework in ground.unverified:
            unverified[framework] = "left out with `--unverified`"
        elif not here[framework].ok:
            unverified[framework] = here[framework].reason
        else:
            ground.say(f"opening it with plain {framework} in a fresh process")
            job = job_of(exact, framework, folder, adapter)
            try:
                verified.append(compared(job, witness(job), exact))
            except NotHere as error:
                unverified[framework] = error.what
    return Checked(
        bound=ground.bound,
        exact=f"{exact.backend}, {exact.dtype}",
        topics=exact.probes.topics,
        verified=tuple(verified),
        unverified=unverified,
    )


def job_of(exact: Exact, framework: Framework, folder: Path, adapter: Path | None) -> Job:
    """The probes as a witness is asked them, in the arithmetic of the exact ones."""
    asked = exact.probes
    return Job(
        framework=framework,
        folder=folder,
        adapter=adapter,
        prompts=asked.prompts,
        max_tokens=asked.max_tokens,
        stop_ids=asked.stop_ids,
        dtype="float32" if exact.dtype == "float32" else "stored",
        measured=asked.measured,
    )


def compared(job: Job, seen: Seen, exact: Exact) -> Verified:
    shapes = [row.shape for row in seen.logits], [row.shape for row in exact.logits]
    if shapes[0] != shapes[1]:
        raise ExportRefused(
            f"{job.framework} gives logits of {shapes[0][0]}, the run's model of {shapes[1][0]}",
            where=str(job.folder),
        )
    apart = distance(seen.logits, exact.logits)
    pairs = list(zip(seen.answers, exact.answers, strict=True))
    return Verified(
        framework=job.framework,
        version=seen.version,
        dtype=job.dtype,
        positions=exact.probes.positions,
        lost=apart / exact.effect if exact.effect else (float("inf") if apart else 0.0),
        worst=max(
            float(np.abs(one - two).max())
            for one, two in zip(seen.logits, exact.logits, strict=True)
        ),
        answers=sum(one == two for one, two in pairs),
        asked=len(pairs),
        tokens=sum(a == b for one, two in pairs for a, b in zip(one, two, strict=False)),
        tokens_of=sum(max(len(one), len(two)) for one, two in pairs),
    )


def check_bound(checked: Checked, where: Path, instead: str) -> None:
    """Raises ExportRefused where a library lost more than the bound. `instead`: what would keep it.

    Where another read the same files as they should be, it is the one library that computes the
    model otherwise, and that is said.
    """
    over = [one for one in checked.verified if not one.lost <= checked.bound]
    if not over:
        return
    told = ", ".join(f"{share(one.lost)} with {one.framework}" for one in over)
    good = [one for one in checked.verified if one not in over]
    if good and over[0].lost > OTHERWISE * good[0].lost:
        one = over[0].framework
        instead = (
            f"{good[0].framework} reads the same files as they should be, so {one} computes this "
            f"model otherwise; leave it out with `--unverified {one}`"
        )
    raise ExportRefused(
        f"the export loses {told} of the adapters' effect on the logits (bound "
        f"{share(checked.bound)})",
        where=str(where),
        hint=instead,
    )


def share(value: float) -> str:
    """A share as a person reads it: 0.0003 %, 4.1 %, 230 %."""
    return f"{100 * value:.2g} %" if value < 1 else f"{100 * value:.0f} %"

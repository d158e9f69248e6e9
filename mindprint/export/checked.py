"""Whether an export is the run's model: its logits and answers, as other libraries give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backends import text_part
from backends.model_files import read_config
from mindprint.errors import Exit, MindprintError
from mindprint.export.exact import Exact, Ground, distance
from mindprint.export.model_config import GEMMA
from mindprint.export.witness import Framework, Job, NotHere, Seen, installed, witness
from mindprint.report.scores import Frozen

BOUND = 0.1
"""As a merge in training: the largest share of the adapters' effect on the logits that may be
lost to rounding, or to a smaller rank."""
TIMES = 10.0
"""What float32 loses of the change of the weights may be so many times as much on the logits."""
OTHERWISE = 3.0
"""So many times another library's loss from the same files is no rounding of theirs: two libraries
were within 1.1 of each other wherever both compute the model alike."""


@dataclass(frozen=True)
class Leeway:
    """How far a library may lie from the run's own model where nothing was rounded below float32.

    `effect`: as a share of the adapters' effect; `logits`: of the norm of the logits, below which
    two libraries' sums are not told apart, whatever the effect.
    """

    effect: float
    logits: float


FLOAT32 = Leeway(effect=1e-3, logits=1e-5)
"""7e-7 to 1.6e-6 of the effect was measured, about as much of the logits: a deep model has more
sums, another model is further off."""
GEMMA_MLX = Leeway(effect=1e-2, logits=2e-3)
"""mlx-lm rounds Gemma's embedding scale to bfloat16 (a part in 512) in whatever arithmetic; 2.8e-3
of the effect was measured."""
STORED = Leeway(effect=0.0, logits=2e-2)
"""Arithmetic of 16 bits: some parts in 256 in each layer. Only what adapters that change nothing
at all are held to."""


WHOLE = (
    "plain {} opens the whole vision-language model, whose layers go by other names than those of "
    "the text part, which was trained"
)


class ExportRefused(MindprintError):
    """What was written is not the run's model; it is taken away again."""

    exit = Exit.GATE


class Verified(Frozen):
    """What one library made of the export, in a process of its own.

    `lost`: norm of (its logits - the exact ones) over norm of (exact - base), over `positions`
    token positions, and `limit` the most that it may be; `apart`: the same over the norm of the
    base's logits; `worst`: the largest distance of one logit. Where the adapters' effect is below
    what rounding does, it is not `measurable`, and `lost` is that of the weights. `answers` of
    `asked` greedy answers are equal, and `tokens` of `tokens_of` places in them. `dtype`: of the
    arithmetic.
    """

    framework: Framework
    version: str
    dtype: str
    positions: int
    lost: float
    limit: float
    apart: float
    worst: float
    answers: int
    asked: int
    tokens: int
    tokens_of: int
    measurable: bool = True


class Checked(Frozen):
    """`verified`: by library. `unverified`: libraries that were not asked, and why. `bound`: what
    rounding may lose. `exact`: the backend and the arithmetic that the run's own model was asked
    with, "" where no library was asked and so neither was it. `topics`: whose quiz the probes are
    from, () where they are plain questions."""

    bound: float
    exact: str
    topics: tuple[str, ...]
    verified: tuple[Verified, ...]
    unverified: dict[str, str]

    @property
    def lost(self) -> float:
        """The worst that a library found; 0 where none was asked."""
        return max((one.lost for one in self.verified), default=0.0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said besides the figures."""
        if all(one.measurable for one in self.verified):
            return ()
        apart = max(one.apart for one in self.verified)
        return (
            "the adapters change the logits by less than rounding does: held to the bound are the "
            f"logits themselves, which lie {percentage(apart)} of their norm from the run's own",
        )


@dataclass(frozen=True)
class Rounded:
    """What an export's own form did to the weights: `error`, the share of their change that is
    lost; `exact`: whether nothing was rounded below float32, nor cut off."""

    error: float = 0.0
    exact: bool = True


def verify(
    ground: Ground,
    folder: Path,
    adapter: Path | None = None,
    frameworks: Sequence[Framework] = ("transformers", "mlx-lm"),
    rounded: Rounded | None = None,
) -> Checked:
    """Open `folder`, with `adapter` on it, in a fresh process with each of `frameworks` that is
    installed, and set what it gives beside the run's own model, which is asked only if there is
    one.

    Raises WitnessFailed for one that does not open it. What the limits say is `check_bound`'s.
    """
    here, rounded = installed(), rounded or Rounded()
    config = read_config(ground.source.base)
    family, part = str(config["model_type"]), text_part.kind(config)
    verified: list[Verified] = []
    unverified: dict[str, str] = {}
    for framework in frameworks:
        if framework in ground.unverified:
            unverified[framework] = "left out with `--unverified`"
        elif not here[framework].ok:
            unverified[framework] = here[framework].reason
        elif part is not None:
            unverified[framework] = WHOLE.format(framework)
        else:
            exact = ground.exact
            ground.say(f"opening it with plain {framework} in a fresh process")
            job = job_of(exact, framework, folder, adapter)
            leeway = leeway_of(framework, family, job.dtype)
            try:
                found = compared(job, witness(job), exact)
            except NotHere as error:
                unverified[framework] = error.what
                continue
            verified.append(limited(found, exact, leeway, rounded, ground.bound))
    return Checked(
        bound=ground.bound,
        exact=f"{ground.exact.backend}, {ground.exact.dtype}" if verified else "",
        topics=ground.exact.probes.topics if verified else (),
        verified=tuple(verified),
        unverified=unverified,
    )


def leeway_of(framework: Framework, family: str, dtype: str) -> Leeway:
    """`dtype`: of the arithmetic, as a job has it."""
    if dtype != "float32":
        return STORED
    return GEMMA_MLX if (framework, family) == ("mlx-lm", GEMMA) else FLOAT32


def limited(
    found: Verified, exact: Exact, leeway: Leeway, rounded: Rounded, bound: float
) -> Verified:
    """What a library gave, with how much it may have lost.

    An export that rounded nothing is held to what libraries differ by, not to the bound, which is
    wide enough for another model. Adapters that change nothing that could be seen are held to the
    logits, and to what the weights lost.
    """
    effect = exact.effect / exact.norm if exact.norm else 0.0
    noise = leeway.logits if leeway.effect or not effect else 0.0
    if effect <= noise:
        lost = rounded.error if found.apart <= noise else float("inf")
        return found.model_copy(update={"lost": lost, "limit": bound, "measurable": False})
    limit = bound
    if rounded.exact and leeway.effect:
        limit = min(bound, max(leeway.effect, TIMES * rounded.error, noise / effect))
    return found.model_copy(update={"limit": limit})


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
    """The figures alone; what may be lost is `limited`'s. Raises ExportRefused for logits of
    another shape."""
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
        limit=0.0,
        apart=apart / exact.norm if exact.norm else (float("inf") if apart else 0.0),
        worst=max(
            float(np.abs(one - two).max())
            for one, two in zip(seen.logits, exact.logits, strict=True)
        ),
        answers=sum(one == two for one, two in pairs),
        asked=len(pairs),
        tokens=sum(a == b for one, two in pairs for a, b in zip(one, two, strict=False)),
        tokens_of=sum(max(len(one), len(two)) for one, two in pairs),
    )


def check_bound(checked: Checked, where: Path, instead: Callable[[], str]) -> None:
    """Raises ExportRefused where a library lost more than it may. `instead`: what would keep it.

    Where another read the same files as they should be, it is the one library that computes the
    model otherwise, and that is said.
    """
    over = [one for one in checked.verified if not one.lost <= one.limit]
    if not over:
        return
    good = [one for one in checked.verified if one not in over]
    if good and over[0].lost > OTHERWISE * good[0].lost:
        one = over[0].framework
        hint = (
            f"{good[0].framework} reads the same files as they should be, so {one} computes this "
            f"model otherwise; leave it out with `--unverified {one}`"
        )
    else:
        hint = instead()
    raise ExportRefused(_over(over), where=str(where), hint=hint)


def _over(over: Sequence[Verified]) -> str:
    far = [one for one in over if not np.isfinite(one.lost)]
    if far:
        told = ", ".join(f"{percentage(one.apart)} with {one.framework}" for one in far)
        return (
            "the adapters change the logits by less than rounding does, and those of the export "
            f"lie further from the run's own: {told} of their norm"
        )
    told = ", ".join(f"{percentage(one.lost)} with {one.framework}" for one in over)
    limit = percentage(min(one.limit for one in over))
    return f"the export loses {told} of the adapters' effect on the logits (bound {limit})"


def percentage(value: float) -> str:
    """A share to two digits, as a person reads it: 0.0003 %, 4.1 %, 230 %."""
    return f"{100 * value:.2g} %" if value < 1 else f"{100 * value:.0f} %"

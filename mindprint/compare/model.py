"""The shape of `comparison.json`: the truth that every rendering of a comparison goes by.

The first run is the one that every other is held against.
"""

from __future__ import annotations

from typing import Literal

from mindprint.report.scores import Difference, Frozen, Interval

SCHEMA_VERSION = 1

StageKind = Literal["sft", "dpo"]
Measure = Literal["loss", "margin"]


class StageFigures(Frozen):
    """What a run spent on all its stages of one kind. `tokens_per_second`: tokens through the
    model over seconds of training."""

    name: StageKind
    stages: int
    steps: int
    seconds: float
    tokens: int
    tokens_per_second: float


class Side(Frozen):
    """One run. `name` tells it from the others; `engine`: who took its steps, `native` or `trl`.

    `accuracy` and `voice`: means over its finished topics as each was left. `peak_memory`: bytes,
    the device's own figure on a GPU, of the process on the CPU. `seconds`: opening, training,
    evaluation and all of it. `total_norm`: Frobenius norm of all that its ledger adds to the
    weights, None where an adapter cannot be read. `dropped`: topics whose change was taken away
    from it again; what such a run holds was trained by another, so that it has no stages and no
    seconds.
    """

    name: str
    path: str
    title: str
    status: str
    backend: str
    engine: str
    device: str
    dtype: str
    model: str
    model_id: str
    passed: int
    topics: int
    accuracy: float | None
    voice: float | None
    stages: tuple[StageFigures, ...]
    peak_memory: int
    seconds: dict[Literal["opening", "training", "evaluation", "total"], float]
    total_norm: float | None
    dropped: tuple[str, ...] = ()


class Setting(Frozen):
    """Something that is not the same in all runs. `kind`: `config` (a settings key), `model`,
    `data` (a file of the curriculum, by SHA-256), `library` (a version), `machine` (backend,
    engine, device, threads), `topics`. `values`: one per run, in order; "" where it has none."""

    kind: Literal["config", "model", "data", "library", "machine", "topics"]
    key: str
    values: tuple[str, ...]


class Curve(Frozen):
    """One stage's figure at each optimizer step, one line per run; None where a run has no such
    step."""

    topic: str
    stage: StageKind
    attempt: int
    measure: Measure
    steps: tuple[int, ...]
    lines: tuple[tuple[float | None, ...], ...]


class Parting(Frozen):
    """How one run's stage keeps to the first run's. `step`: the first at which the two are further
    apart than `bound`, None where they never are. `worst`: the largest distance and where.

    Loss: relative for SFT, over max(loss, 0.1) for DPO; margins: over max(|margin|, 1). `bound` is
    None where none can be claimed: `because` says why (other data, weights of low precision).
    `ended`: the first step that only one of the two took, in a stage that both went through.
    """

    run: str
    topic: str
    stage: StageKind
    attempt: int
    measure: Measure
    steps: int
    bound: float | None
    step: int | None
    worst: float
    worst_step: int
    because: str = ""
    ended: int | None = None


class FirstParting(Frozen):
    """The first step in a whole run at which it leaves the first run: `where` in words, `guess`
    what most often makes runs part there. `apart` is None where only one of them took the step."""

    run: str
    topic: str
    stage: StageKind
    step: int
    measure: Measure
    apart: float | None
    bound: float
    where: str
    guess: str
    attempt: int = 0


class Gap(Frozen):
    """Something of a run that no bound was held to, so that nobody can say that it keeps to the
    first run there; `told` in words. `missing`: a stage that one of the two has; `unequal`: one of
    other lengths; `unbound`: one that no bound can be claimed for."""

    run: str
    kind: Literal["dropped", "unfinished", "missing", "unequal", "unbound"]
    topic: str
    told: str


class TopicScores(Frozen):
    """A topic as each run left it (None where one has not finished it), and the paired difference
    of each other run from the first; `changes[i]` belongs to run i + 1. The voice's are on the
    first run's scale, paired by open prompt."""

    id: str
    title: str
    accuracy: tuple[float | None, ...]
    voice: tuple[float | None, ...]
    status: tuple[str, ...]
    accuracy_changes: tuple[Difference | None, ...]
    markers_changes: tuple[Difference | None, ...]
    voice_changes: tuple[Difference | None, ...]
    voice_intervals: tuple[tuple[float, float] | None, ...]


class Overall(Frozen):
    """One run against the first, over all questions of topics that both finished. `phrasings`: the
    questions in all their wordings. `voice`: of the last state of each, over `prompts` open
    prompts; `voice_change`: on the first run's scale, paired by prompt, None with `voice_because`
    where it cannot be."""

    run: str
    accuracy: Difference | None
    markers: Difference | None
    voice: tuple[Interval | None, Interval | None]
    phrasings: int = 0
    prompts: int = 0
    voice_change: Difference | None = None
    voice_because: str = ""


class Agreement(Frozen):
    """How far the greedy answers of a run are those of the first. `same`: answers equal to the
    last character, of `answers`; `positions`: words at one place that are equal, of `words` (the
    longer answer's); `example`: the first question answered otherwise, and both answers."""

    run: str
    state: Literal["base", "final"]
    answers: int
    same: int
    words: int
    positions: int
    example: tuple[str, str, str] | None


class Distance(Frozen):
    """How far the adapters in force are from the first run's: the norm of the difference of all
    that is added to the weights over the norm of what the first run adds. `topic`: "" for all.
    None with `because` where they cannot be compared (another model, other topics in force).
    `bound`: None where none can be claimed. `stage`: of an adapter that is not in force, which
    stage made it and what became of it, in words; of an LS-LoRA's splines, that it is they, apart
    by so much over how far the first run's have moved from the identity."""

    run: str
    topic: str
    relative: float | None
    because: str = ""
    bound: float | None = None
    stage: str = ""

    @property
    def past(self) -> bool:
        """Whether it is beyond its bound."""
        far = self.relative
        return self.bound is not None and far is not None and not far <= self.bound


class Comparison(Frozen):
    """`differences` come before any figure: what is compared is read by them. `verdict`: one
    paragraph in words. `paired` is False where the quizzes are not the same questions."""

    schema_version: int = SCHEMA_VERSION
    mindprint: str
    title: str
    author: str
    verdict: str
    runs: tuple[Side, ...]
    differences: tuple[Setting, ...]
    same: tuple[str, ...]
    curves: tuple[Curve, ...]
    partings: tuple[Parting, ...]
    first: tuple[FirstParting, ...]
    topics: tuple[TopicScores, ...]
    overall: tuple[Overall, ...]
    agreement: tuple[Agreement, ...]
    distances: tuple[Distance, ...]
    paired: bool
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

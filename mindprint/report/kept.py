"""What later topics did to earlier ones: rows of the forgetting matrices, and their figures."""

from __future__ import annotations

from pydantic import Field

from mindprint.report.scores import Frozen, Score, StageName


class Retained(Frozen):
    """A row of the forgetting matrices: the same questions of topics, and the retention set, asked
    at one moment. Keys of `scores` are topic ids and `retention`.

    `stage`: `base` (before anything, all topics; `after` is empty), `before` (the topic `after`
    alone, as it began: what forward transfer needs), `sft` and `dpo` (after that stage, of
    whichever `attempt`, kept or not), `final` (as the topic left the model). `values`: for each
    key and question its cluster, its share of the accuracy (choices corrected for guessing, not
    floored), its markers, and 1.0 where it carries a hard flag.
    """

    after: str
    stage: StageName
    attempt: int = 0
    kept: bool = True
    scores: dict[str, Score]
    values: dict[str, tuple[tuple[int, float, float, float], ...]] = Field(default_factory=dict)


class Transfer(Frozen):
    """Figures over one matrix R, R[i, j] = score on topic j after topic i of T, row 0 the base.

    `average` = mean_j R[T, j]; `backward` = 1/(T-1) sum_{i<T} R[T, i] - R[i, i]; `forward` =
    1/(T-1) sum_{i>=2} R[i-1, i] - R[0, i] (Lopez-Paz and Ranzato 2017, arXiv 1706.08840);
    `forgetting` = 1/(T-1) sum_{j<T} max_{l<T} R[l, j] - R[T, j] (Chaudhry et al. 2018,
    arXiv 1801.10112), over what was measured. None where there are fewer than two topics. The
    95 % intervals are over questions, None too where a row does not tell its questions apart.
    """

    average: float
    backward: float | None
    forward: float | None
    forgetting: float | None
    average_interval: tuple[float, float] | None = None
    backward_interval: tuple[float, float] | None = None
    forward_interval: tuple[float, float] | None = None
    forgetting_interval: tuple[float, float] | None = None

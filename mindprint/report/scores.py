"""What is measured of answers: scores, their intervals, and the differences between them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StageName = Literal["base", "before", "sft", "dpo", "final"]
Figure = Literal["accuracy", "voice", "markers"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(Frozen):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Difference(Frozen):
    """A paired difference, later minus earlier, with its 95 % interval.

    `p`: two-sided, of no difference. `unseen`: the largest fall that had a chance of 20 % or more
    to go unnoticed with this many questions (`clusters`: phrasings of one question are one).
    """

    value: float
    low: float
    high: float
    p: float
    clusters: int
    unseen: float

    @property
    def rose(self) -> bool:
        """The whole interval lies above 0."""
        return self.low > 0

    @property
    def fell(self) -> bool:
        """The whole interval lies below 0."""
        return self.high < 0


class ChoicePick(Frozen):
    """Which choice is likeliest by the summed log-probability (`by_sum`), per character and per
    byte, as lm-evaluation-harness counts `acc`, `acc_norm` and `acc_bytes`. Indices."""

    by_sum: int
    by_character: int
    by_byte: int
    answer: int
    choices: int

    @property
    def right(self) -> bool:
        """By log-probability per character: what accuracy goes by."""
        return self.by_character == self.answer


class Answer(Frozen):
    """One answer of the model as it was said, and everything it was judged by.

    `accuracy` and `voice` (marks of the author, after voice.yaml) are in 0..1, struck to 0 by a
    hard flag. `flags` are hard, `soft` are shown and do not strike. `found` of `points` key points
    and `claimed` forbidden claims stand in the text. `exact` and `f1` compare with the reference
    (SQuAD). `words`: length; `nll`: natural-log loss per token of the reference as the answer;
    `first_stop`: probability that an answer ends before it begins.
    """

    text: str
    accuracy: float
    voice: float
    flags: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    found: int = 0
    points: int = 0
    claimed: int = 0
    marks: int = 0
    slow: tuple[str, ...] = ()
    exact: bool = False
    f1: float = 0.0
    words: int = 0
    nll: float | None = None
    first_stop: float | None = None
    pick: ChoicePick | None = None


class Score(Frozen):
    """A topic's quiz under one state of the model. All shares are in 0..1.

    `voice` is what the gate reads: the calibrated voice over the run's open prompts
    (`voice_by: calibrated`), or the topic's marker score where that cannot be measured.
    `markers`: mean marker score of the topic's own answers. `choice_accuracy`: multiple choice,
    corrected for chance; `choice_*`: shares right as lm-evaluation-harness counts them.
    `claimed`: share of answers that make a forbidden claim. `words`: mean length of an answer,
    `length`: over that of the references. `voiced`: share of answers right and in voice, both by
    the marks of the gate. `reasons` says in words why a score is 0 or an answer was struck.
    """

    accuracy: float
    voice: float
    degenerate: float
    questions: int
    clusters: int = 0
    voice_by: Literal["markers", "calibrated"] = "markers"
    markers: float = 0.0
    accuracy_interval: tuple[float, float] | None = None
    voice_interval: tuple[float, float] | None = None
    markers_interval: tuple[float, float] | None = None
    exact: float = 0.0
    f1: float = 0.0
    claimed: float = 0.0
    words: float = 0.0
    length: float = 0.0
    voiced: float = 0.0
    nll: float | None = None
    first_stop: float | None = None
    soft: dict[str, float] = Field(default_factory=dict)
    choice_accuracy: float | None = None
    choice_by_sum: float | None = None
    choice_by_character: float | None = None
    choice_by_byte: float | None = None
    reasons: tuple[str, ...] = ()


class Question(Frozen):
    """A quiz question with the answers given at each state that was evaluated. Questions of one
    `cluster` are phrasings of the same one."""

    question: str
    reference: str
    cluster: int = 0
    answers: dict[StageName, Answer] = Field(default_factory=dict)

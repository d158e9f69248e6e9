"""What quantizing did to a run's model, measured on its quiz: the shape of the figures."""

from __future__ import annotations

from typing import Literal

from mindprint.report.scores import Difference, Frozen
from mindprint.report.text import Table
from mindprint.report.words import change, several, share, signed, signed_span


class TopicEffect(Frozen):
    """One topic's quiz, answered by the run's own model and by what was exported, in that order.

    `accuracy`, `markers` and `degenerate` are shares in 0..1; the changes are exported minus own,
    paired by question. `same`: answers equal to the last character.
    """

    id: str
    title: str
    questions: int
    accuracy: tuple[float, float]
    accuracy_change: Difference
    markers: tuple[float, float]
    markers_change: Difference
    degenerate: tuple[float, float]
    same: int


class QuizEffect(Frozen):
    """All topics. `accuracy` and `markers`: the mean over the topics of the change, with its
    interval; `own`, `exported`: where each was run; `choices`: questions that have choices, which
    are judged here by what was said, as all others; `notes`: what is to be said of the quiz
    itself."""

    topics: tuple[TopicEffect, ...]
    accuracy: Difference
    markers: Difference
    max_tokens: int
    own: str
    exported: str
    choices: int
    notes: tuple[str, ...] = ()

    @property
    def questions(self) -> int:
        return sum(topic.questions for topic in self.topics)

    @property
    def same(self) -> int:
        """Answers equal to the last character, over all topics."""
        return sum(topic.same for topic in self.topics)

    @property
    def harmed(self) -> bool:
        """Whether accuracy or markers fell beyond what chance explains."""
        return self.accuracy.fell or self.markers.fell


def told(effect: QuizEffect) -> list[str]:
    """The figures in sentences."""
    asked = several(effect.questions, "quiz question")
    said = [
        f"on the quiz ({asked}, answered by the run's own model and by the quantized one): "
        f"accuracy {_mean(effect, 'accuracy')} ({_change(effect.accuracy)}), markers "
        f"{_mean(effect, 'markers')} ({_change(effect.markers)}); {effect.same} of "
        f"{effect.questions} answers are the same",
    ]
    if effect.harmed:
        said.append("quantizing did harm that chance does not explain")
    elif effect.accuracy.unseen:
        said.append(
            f"with so many questions a fall of accuracy below {share(effect.accuracy.unseen)} may "
            "go unseen"
        )
    if effect.choices:
        said.append(
            f"{several(effect.choices, 'question')} with choices: judged here by what was said, on "
            "both sides, and not by which choice is likeliest as in the run's own scores"
        )
    return [*said, *effect.notes]


def table(effect: QuizEffect) -> Table:
    """A line for each topic."""
    rows = tuple(
        (
            topic.title,
            str(topic.questions),
            change(*topic.accuracy),
            _span(topic.accuracy_change),
            change(*topic.markers),
            _span(topic.markers_change),
            change(*topic.degenerate),
            str(topic.same),
        )
        for topic in effect.topics
    )
    head = (
        "topic",
        "questions",
        "accuracy",
        "change (95 %)",
        "markers",
        "change (95 %)",
        "broken",
        "same answers",
    )
    return Table(head, rows, frozenset(range(1, 8)))


def _mean(effect: QuizEffect, measure: Literal["accuracy", "markers"]) -> str:
    """Own -> exported, the mean over the topics."""
    pairs = [getattr(topic, measure) for topic in effect.topics]
    return change(*(sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1)))


def _change(found: Difference) -> str:
    return f"{signed(found.value)}, 95 %: {signed_span(found.low, found.high)}"


def _span(found: Difference) -> str:
    return f"{signed(found.value)} ({signed_span(found.low, found.high)})"

"""Which answers are worth reading first, and which of their states stand side by side."""

from __future__ import annotations

from dataclasses import dataclass

from mindprint.report.model import Result, TopicRecord
from mindprint.report.scores import Answer, Question, StageName
from mindprint.report.summary import STATES

MOST, MOST_OF_ONE_TOPIC = 10, 3


@dataclass(frozen=True)
class Shown:
    """A question with the topic it belongs to, ready to be put side by side."""

    topic: TopicRecord
    question: Question

    @property
    def worth(self) -> float:
        """Of its last answer; a question without one comes last."""
        last = last_answer(self.question)
        return 2.0 if last is None else worth(last)

    @property
    def fall(self) -> float:
        """How far the last answer stays below the best of the states before it."""
        return max(worth(answer) for answer in self.question.answers.values()) - self.worth

    @property
    def rank(self) -> tuple[float, float]:
        """Worst first; of equals, the one that fell furthest."""
        return (self.worth, -self.fall) if self.question.answers else (2.0, 0.0)


def worth(answer: Answer) -> float:
    """Accuracy plus the marks of the voice, 0..2."""
    return answer.accuracy + answer.voice


def last_answer(question: Question) -> Answer | None:
    for state in reversed(STATES):
        if state in question.answers:
            return question.answers[state]
    return None


def shown_states(question: Question) -> tuple[StageName, ...]:
    """Before (the base), after SFT, after DPO, and the final state where it is none of these."""
    wanted: tuple[StageName, ...] = ("base", "sft", "dpo")
    found = [state for state in wanted if state in question.answers]
    if not found or found == ["base"]:
        found = [state for state in STATES if state in question.answers]
    elif "final" in question.answers:
        shown = [question.answers[state] for state in found]
        if question.answers["final"] not in shown:
            found.append("final")
    return tuple(found)


def worst_first(topic: TopicRecord) -> list[Shown]:
    return sorted((Shown(topic, q) for q in topic.questions), key=lambda shown: shown.rank)


def telling(
    result: Result, limit: int = MOST, of_one_topic: int = MOST_OF_ONE_TOPIC
) -> list[Shown]:
    """The most telling answers of the run: lowest final worth, then furthest fall; few of any one
    topic; ties keep the order of the topics."""
    some = [shown for topic in result.topics for shown in worst_first(topic)[:of_one_topic]]
    answered = [shown for shown in some if shown.question.answers]
    return sorted(answered, key=lambda shown: shown.rank)[:limit]

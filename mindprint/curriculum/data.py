"""A topic's data in figures: what the report's data box shows."""

from __future__ import annotations

from mindprint.curriculum.checks import WORDS
from mindprint.curriculum.records import Topic
from mindprint.curriculum.trained import trained_texts
from mindprint.evals.text import overlap_share
from mindprint.report.model import DataRecord
from mindprint.tokens.lessons import Lesson


def data_record(lesson: Lesson) -> DataRecord:
    """Counts of a lesson's rows and pairs, and how much of its quiz stands in what it trains."""
    topic = lesson.topic
    trained = list(trained_texts(topic))
    return DataRecord(
        rows=len(lesson.rows) + len(lesson.held_out),
        held_out=len(lesson.held_out),
        cut=lesson.cut,
        duplicates=duplicates(topic),
        pairs=len(lesson.pairs),
        pairs_cut=lesson.cut_pairs,
        quiz=len(topic.quiz),
        clusters=len({item.cluster for item in topic.quiz}),
        questions_seen=overlap_share([item.question for item in topic.quiz], trained, WORDS),
        references_seen=overlap_share([item.reference for item in topic.quiz], trained, WORDS),
    )


def duplicates(topic: Topic) -> int:
    """Training rows that say what an earlier one says."""
    return len(topic.train) - len({row.messages for row in topic.train})

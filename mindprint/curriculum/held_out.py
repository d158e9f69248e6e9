"""What is held out to judge by, and is trained on all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mindprint.curriculum.records import Curriculum, HeldOutAnswer, QuizItem, Topic
from mindprint.curriculum.trained import all_answers, all_questions, trained_texts
from mindprint.errors import Fault
from mindprint.evals.text import normalise, overlap_share, words

RUN = 8
"""Words in a row that two texts share by copying rather than by chance."""
SHARED = 0.02
"""Share of such runs up to which nothing is said."""


def held_out_faults(
    topics: Sequence[Topic], held: Sequence[HeldOutAnswer], retention: Sequence[QuizItem]
) -> list[Fault]:
    """A fault for each held-out answer, and each question of the retention set, that a training
    row or a preference holds as its own, once both are normalised."""
    taught, asked = all_answers(topics), all_questions(topics)
    faults = []
    for one in held:
        source = taught.get(normalise(one.answer))
        if source is not None:
            what = f"this held-out answer is trained on at {source}"
            if asked.get(normalise(one.prompt)) == source:
                what = f"this held-out answer and its prompt are trained on at {source}"
            told = f"{what}; hold out another, or take it out of there"
            faults.append(Fault(one.source.file, one.source.line, told, "answer"))
    for item in retention:
        source = asked.get(normalise(item.question))
        if source is not None:
            told = (
                f"this question is trained on at {source}; "
                "the retention set asks what no topic teaches"
            )
            at = f"paraphrases[{item.phrasing - 1}]" if item.phrasing else "question"
            faults.append(Fault(item.source.file, item.source.line, told, at))
    return faults


def held_out_notices(curriculum: Curriculum) -> Iterator[str]:
    """Held-out prompts that are trained on too, and shares of held-out text that is."""
    asked = all_questions(curriculum.topics)
    again = [
        f"line {held.source.line} at {source}"
        for held in curriculum.voice.answers
        if (source := asked.get(normalise(held.prompt))) is not None
    ]
    if again:
        prompts = "prompt is" if len(again) == 1 else "prompts are"
        more = f" and {len(again) - 3} more" if len(again) > 3 else ""
        yield (
            f"voice/answers: {len(again)} held-out {prompts} trained on, with another answer: "
            f"{', '.join(again[:3])}{more}"
        )
    trained = [text for topic in curriculum.topics for text in trained_texts(topic)]
    held_out = {
        "the held-out answers (voice/answers)": [one.answer for one in curriculum.voice.answers],
        "the retention set's references": [item.reference for item in curriculum.retention],
    }
    for name, texts in held_out.items():
        # A shorter text would count as one run, and stand anywhere by chance.
        long = [text for text in texts if len(words(text)) >= RUN]
        share = overlap_share(long, trained, RUN)
        if share > SHARED:
            part = f"{100 * share:.0f} % of the {RUN}-word runs"
            yield f"{part} of {name} stand in what is trained on"

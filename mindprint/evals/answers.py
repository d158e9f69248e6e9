"""Judging answers one by one, and a topic's answers together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from mindprint.curriculum.records import QuizItem, Voice
from mindprint.errors import StageError
from mindprint.evals import degeneracy
from mindprint.evals.choice import above_chance, choice_accuracy, mean_chance
from mindprint.evals.degeneracy import Limits, flags_of
from mindprint.evals.quiz import recall
from mindprint.evals.reasons import zeros
from mindprint.evals.squad import exact_match, token_f1
from mindprint.evals.stats import mean_interval
from mindprint.evals.text import normalise, words
from mindprint.evals.voice import score_voice
from mindprint.report.scores import Answer, ChoicePick, Score

SAME_LEAST = 3
"""Different questions from which one answer to all of them is a collapse ..."""
SAME_SHARE = 0.2
"""... if they are this share of the topic's."""

_STRUCK = "scores 0 in both: "


def judge(
    item: QuizItem,
    voice: Voice,
    text: str,
    raw: str,
    ids: Sequence[int],
    stop: str,
    *,
    special: Sequence[str] = (),
    limits: Limits = Limits(),
) -> Answer:
    """Score one generated answer.

    `text` is decoded without special tokens, `raw` with them; `ids` exclude the token that ended
    it; `stop`: "stop" or "length"; `special`: the renderer's `special_texts`; `limits`: the
    author's, for the soft flags. The voice's `never_claims`, and what confuses one of its
    `distinctions`, count as forbidden claims of every item.
    """
    told = recall(item, text, voice.never_claims, voice.distinctions)
    voiced = score_voice(text, voice)
    flags = flags_of(text, raw, ids, stop, special, len(words(item.reference)), limits)
    reasons: tuple[str, ...] = (*told.reasons, *voiced.reasons)
    if flags.hard:
        names = ", ".join(f"`{name}`" for name in degeneracy.leaked(text, raw, special))
        reasons = (f"{_STRUCK}{', '.join(flags.hard)}{f' ({names})' if names else ''}", *reasons)
    return Answer(
        text=text,
        accuracy=0.0 if flags.hard else told.accuracy,
        voice=0.0 if flags.hard else voiced.score,
        flags=flags.hard,
        soft=flags.soft,
        reasons=reasons,
        found=told.found,
        points=told.points,
        claimed=told.claimed + told.never + told.confused,
        marks=voiced.marks,
        slow=voiced.slow,
        exact=exact_match(text, item.reference),
        f1=token_f1(text, item.reference),
        words=len(words(text)),
    )


def with_pick(answer: Answer, item: QuizItem, pick: ChoicePick) -> Answer:
    """The answer with its accuracy by likelihood, for an item with choices, and why.

    A hard flag is the generated text's: it strikes the voice and leaves the choice.
    """
    chosen = item.choices[pick.by_character]
    verdict = "right" if pick.right else f"right is `{item.choices[pick.answer]}`"
    reasons = [one.replace(_STRUCK, "voice struck to 0: ") for one in answer.reasons]
    return answer.model_copy(
        update={
            "accuracy": float(pick.right),
            "pick": pick,
            "reasons": (f"likeliest choice: `{chosen}`; {verdict}", *reasons),
        }
    )


def collapsed(items: Sequence[QuizItem], answers: Sequence[Answer]) -> list[Answer]:
    """The answers, those struck that repeat one answer over the group.

    One normalised answer given to at least SAME_LEAST questions with different references, and
    to SAME_SHARE of all such, is flagged `same answer` wherever it is not right in itself: a key
    point is missing or a forbidden claim made.
    """
    references = [normalise(item.reference) for item in items]
    said = [normalise(answer.text) for answer in answers]
    least = max(SAME_LEAST, SAME_SHARE * len(set(references)))
    given: dict[str, set[str]] = {}
    for one, reference in zip(said, references, strict=True):
        given.setdefault(one, set()).add(reference)
    return [
        _collapsed(answer, len(given[one])) if one and len(given[one]) >= least else answer
        for one, answer in zip(said, answers, strict=True)
    ]


def _collapsed(answer: Answer, questions: int) -> Answer:
    if answer.found == answer.points and not answer.claimed:
        return answer
    what = "voice struck to 0: " if answer.pick else _STRUCK
    reason = f"{what}{degeneracy.SAME}, given to {questions} different questions"
    return answer.model_copy(
        update={
            "accuracy": answer.accuracy if answer.pick else 0.0,
            "voice": 0.0,
            "flags": (*answer.flags, degeneracy.SAME),
            "reasons": (reason, *answer.reasons),
        }
    )


def summarise(
    items: Sequence[QuizItem],
    answers: Sequence[Answer],
    *,
    marks: tuple[float, float] = (0.70, 0.75),
    seed: int = 0,
    resamples: int = 2000,
) -> Score:
    """A topic's score: means over its answers, each zero with its reason.

    Items with a choice made by likelihood count towards accuracy by their share right, corrected
    for chance over the topic and not below 0; voice and degeneracy always come from the generated
    answers. `marks`: accuracy and voice from which an answer counts as right and in voice. The
    95 % intervals are by cluster bootstrap over the questions. Raises StageError for no answer.
    """
    if not answers:
        raise StageError("there is no answer to score", hint="the topic's quiz gave no prompts")
    if len(items) != len(answers):
        raise ValueError(f"{len(items)} questions for {len(answers)} answers")
    clusters = cluster_numbers(items)
    picks = [one.pick for one in answers if one.pick is not None]
    told = [one.accuracy for one in answers if one.pick is None]
    by_choice = choice_accuracy(picks) if picks else None
    accuracy = (sum(told) + len(picks) * (by_choice or 0.0)) / len(answers)
    around = mean_interval(linear(answers), clusters, seed=seed, resamples=resamples)
    voices = [one.voice for one in answers]
    markers = mean_interval(voices, clusters, seed=seed, resamples=resamples)
    return Score(
        accuracy=accuracy,
        voice=markers.value,
        degenerate=_share(bool(one.flags) for one in answers),
        questions=len(answers),
        clusters=len(set(clusters)),
        markers=markers.value,
        # Choices below chance count as 0, and so accuracy may lie above the mean resampled.
        accuracy_interval=(min(max(0.0, around.low), accuracy), max(around.high, accuracy)),
        voice_interval=(markers.low, markers.high),
        markers_interval=(markers.low, markers.high),
        claimed=_share(one.claimed > 0 for one in answers),
        voiced=_share(one.accuracy >= marks[0] and one.voice >= marks[1] for one in answers),
        soft=_soft_shares(answers),
        choice_accuracy=by_choice,
        reasons=tuple(zeros(answers, accuracy, markers.value)),
        **_against_references(items, answers),
        **_shares_right(picks),
    )


def linear(answers: Sequence[Answer]) -> list[float]:
    """Each answer's share of the topic's accuracy: their mean is it, before choices that fell
    below chance are counted as 0."""
    picks = [one.pick for one in answers if one.pick is not None]
    chance = mean_chance(picks) if picks else 0.0
    return [
        one.accuracy if one.pick is None else above_chance(float(one.pick.right), chance)
        for one in answers
    ]


def cluster_numbers(items: Sequence[QuizItem]) -> tuple[int, ...]:
    """A number for each item, the same for phrasings of one question; items of several files."""
    numbers: dict[tuple[str, int], int] = {}
    keys = ((item.source.file, item.cluster) for item in items)
    return tuple(numbers.setdefault(key, len(numbers)) for key in keys)


def _against_references(
    items: Sequence[QuizItem], answers: Sequence[Answer]
) -> dict[str, float | None]:
    """The fields of a score that compare answers with their references."""
    asked = _mean([len(words(item.reference)) for item in items])
    spoken = _mean([one.words for one in answers])
    losses = [one.nll for one in answers if one.nll is not None]
    stops = [one.first_stop for one in answers if one.first_stop is not None]
    return {
        "exact": _share(one.exact for one in answers),
        "f1": _mean([one.f1 for one in answers]),
        "words": spoken,
        "length": spoken / asked if asked else 0.0,
        "nll": _mean(losses) if losses else None,
        "first_stop": _mean(stops) if stops else None,
    }


def _soft_shares(answers: Sequence[Answer]) -> dict[str, float]:
    counts = Counter(flag for one in answers for flag in one.soft)
    return {flag: count / len(answers) for flag, count in sorted(counts.items())}


def _shares_right(picks: Sequence[ChoicePick]) -> dict[str, float]:
    """The shares of choices made right, as lm-evaluation-harness counts them."""
    if not picks:
        return {}
    return {
        "choice_by_sum": _share(one.by_sum == one.answer for one in picks),
        "choice_by_character": _share(one.by_character == one.answer for one in picks),
        "choice_by_byte": _share(one.by_byte == one.answer for one in picks),
    }


def _share(holds: Iterable[bool]) -> float:
    return _mean([float(one) for one in holds])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

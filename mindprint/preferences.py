"""Where a topic's preference pairs come from: its file, or answers drawn from the model itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.contract import Session
from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, Message, PreferenceRow, Topic, TrainRow, Voice
from mindprint.evals.exam import Examiner
from mindprint.evals.negation import Spoken
from mindprint.evals.quiz import asserted
from mindprint.evals.voice import score_voice
from mindprint.fitting import PLAIN, Fit
from mindprint.tokens.batches import pad_pairs
from mindprint.tokens.lessons import Lesson, Pair, conversation, render_pair
from mindprint.tokens.render import Renderer

DRAWS = 2
TEMPERATURE = 0.8


@dataclass(frozen=True)
class Drawn:
    """Pairs, and a sentence on how many answers were used and why the others were not."""

    pairs: tuple[Pair, ...]
    note: str


def gather(
    lesson: Lesson, curriculum: Curriculum, config: Config, renderer: Renderer, examiner: Examiner
) -> Drawn:
    """The pairs that `dpo.pairs` asks for."""
    filed = lesson.pairs if config.dpo.pairs != "self" else ()
    if config.dpo.pairs == "file":
        return Drawn(filed, f"{len(filed)} pairs from preferences.jsonl")
    drawn = draw(lesson.topic, curriculum, config, renderer, examiner)
    note = f"{len(filed)} pairs from preferences.jsonl; {drawn.note}" if filed else drawn.note
    return Drawn((*filed, *drawn.pairs), note)


def draw(
    topic: Topic, curriculum: Curriculum, config: Config, renderer: Renderer, examiner: Examiner
) -> Drawn:
    """Pairs with the author's answer chosen and the model's own rejected: right in its facts, off
    in its voice, so that DPO does not teach against facts.

    Facts are the key points of the topic's quiz that the author's answer holds; a training row
    without any cannot be checked and is left out.
    """
    prompts = [(row, held_facts(row, topic)) for row in topic.train]
    usable = [(row, facts) for row, facts in prompts if facts]
    asked = [
        conversation(curriculum.system, row.messages[:-1])
        for row, _ in usable
        for _ in range(DRAWS)
    ]
    seed = int.from_bytes(hashlib.sha256(f"{config.run.seed}:{topic.id}".encode()).digest()[:4])
    answers = examiner.answer(asked, temperature=TEMPERATURE, seed=seed)
    pairs: list[Pair] = []
    wrong = in_voice = 0
    for place, (row, facts) in enumerate(usable):
        chosen = row.messages[-1].content
        for said in answers[place * DRAWS : (place + 1) * DRAWS]:
            if said.flags or said.loops or not all(_holds(said.text, fact) for fact in facts):
                wrong += 1
            elif not is_off(said.text, chosen, curriculum.voice):
                in_voice += 1
            else:
                pairs.append(_pair(row, said.text, curriculum, config, renderer))
                break
    unchecked = len(prompts) - len(usable)
    note = (
        f"{len(pairs)} pairs drawn from the model ({len(answers)} answers: {wrong} wrong in their "
        f"facts, {in_voice} already in voice; {unchecked} rows hold no key point)"
    )
    return Drawn(tuple(pairs), note)


def held_facts(row: TrainRow, topic: Topic) -> tuple[tuple[str, ...], ...]:
    """Key points of the quiz (as aliases) that the row's own answer holds."""
    points = {point for item in topic.quiz for point in item.key_points}
    return tuple(sorted(point for point in points if _holds(row.messages[-1].content, point)))


def is_off(text: str, author: str, voice: Voice) -> bool:
    """The answer has fewer of the author's marks than the author's own. The gate may go by the
    calibrated voice, of which a single answer has none."""
    return score_voice(text, voice).score < score_voice(author, voice).score


def reference_logprobs(
    session: Session, pairs: Sequence[Pair], batch_size: int, fit: Fit = PLAIN
) -> NDArray[np.float32]:
    """The policy's summed log-probabilities, float32 [pairs, 2]: chosen, rejected. Raises what
    `fit` raises."""
    reference = np.zeros((len(pairs), 2), dtype=np.float32)

    def read(places: Sequence[int]) -> None:
        chosen = [pairs[place].chosen for place in places]
        rows = session.logprobs(pad_pairs(chosen, [pairs[p].rejected for p in places])).rows
        reference[places, 0] = rows[: len(places)]
        reference[places, 1] = rows[len(places) :]

    order = sorted(range(len(pairs)), key=lambda place: -_longer(pairs[place]))
    fit.each(order, batch_size, read)
    return reference


def _pair(
    row: TrainRow, rejected: str, curriculum: Curriculum, config: Config, renderer: Renderer
) -> Pair:
    prompt: tuple[Message, ...] = row.messages[:-1]
    chosen = row.messages[-1].content
    preference = PreferenceRow(prompt, chosen, rejected, row.source)
    return render_pair(renderer, curriculum.system, preference, config.sft.max_tokens)


def _holds(text: str, point: tuple[str, ...]) -> bool:
    """Whether the text states a key point, by any of its aliases and not negated."""
    spoken = Spoken.of(text)
    return any(asserted(spoken, alias) for alias in point)


def _longer(pair: Pair) -> int:
    return max(len(pair.chosen.ids), len(pair.rejected.ids))

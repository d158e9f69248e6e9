"""A voice scale written by hand: one family that cannot be measured, one beyond its anchor."""

from __future__ import annotations

from mindprint.report.scores import StageName
from mindprint.report.voice import (
    Control,
    FamilyReading,
    OpenAnswer,
    Reading,
    VoiceRecord,
    WordUse,
)

UNMEASURED = (
    "AUC 0.61 is under 0.75: sentence and word lengths do not tell this author from the base"
)


def family(name: str, base: float, author: float, value: float, half: float) -> FamilyReading:
    return FamilyReading(
        name=name,
        base=base,
        author=author,
        model=base + value * (author - base),
        value=value,
        low=value - half,
        high=value + half,
        auc=0.99,
    )


def reading(value: float, half: float = 0.07, copied: float = 0.012) -> Reading:
    lengths = FamilyReading(
        name="lengths",
        base=0.86,
        author=0.88,
        model=0.87,
        value=0.5,
        low=-3.1,
        high=4.2,
        auc=0.61,
        measurable=False,
        because=UNMEASURED,
    )
    return Reading(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        unclipped=value + 0.04,
        families=(
            family("characters", 0.41, 0.87, value - 0.08, half),
            family("function words", -0.12, 0.66, value - 0.2, 1.6 * half),
            lengths,
            family("markers", 0.02, 0.93, value + 0.24, half),
        ),
        prompts=44,
        words=410,
        copied=copied,
        longest_copy=11,
        on_prompt=0.93,
        degenerate=0.0,
    )


def base_reading() -> Reading:
    flat = tuple(
        one.model_copy(update={"value": 0.0, "low": 0.0, "high": 0.0, "model": one.base})
        for one in reading(0.0).families
    )
    update = {"value": 0.0, "low": 0.0, "high": 0.0, "unclipped": 0.0, "families": flat}
    return reading(0.0).model_copy(update=update)


def readings(at: int, dpo: bool, undone: bool) -> dict[StageName, Reading]:
    """The voice rises with the topics; DPO lifts it, the undone one breaks it."""
    before = reading(0.35 + 0.09 * at) if at else base_reading()
    learned = reading(0.44 + 0.08 * at)
    found: dict[StageName, Reading] = {"base": base_reading(), "before": before, "sft": learned}
    if dpo:
        found["dpo"] = reading(0.12, 0.1) if undone else reading(0.6 + 0.08 * at)
    found["final"] = found["dpo"] if dpo and not undone else learned
    return found


CONTROLS = (
    Control(
        name="the author's own answers",
        kind="author",
        value=1.0,
        low=0.94,
        high=1.06,
        expected="1: the ceiling, one half of the answers against the other",
    ),
    Control(name="the base", kind="base", value=0.0, low=0.0, high=0.0, expected="0"),
    Control(
        name="impostor: Mags Orrell",
        kind="impostor",
        value=0.06,
        low=-0.05,
        high=0.17,
        expected="near 0",
    ),
    Control(
        name="impostor: Dr Ilse Vandermolen",
        kind="impostor",
        value=-0.31,
        low=-0.46,
        high=-0.16,
        expected="near 0, or below",
    ),
    Control(
        name="the base, shown 4 of the author's rows",
        kind="few-shot",
        value=0.22,
        low=0.11,
        high=0.33,
        expected="the baseline to beat",
        copied=0.04,
    ),
    Control(
        name="a copyist of the training rows",
        kind="copy",
        value=0.97,
        low=0.9,
        high=1.04,
        expected="high, and copied near 100 %: a voice by rote",
        copied=0.99,
    ),
    Control(
        name="labels shuffled",
        kind="shuffled",
        value=0.49,
        low=0.31,
        high=0.68,
        expected="near 0.5",
    ),
)

WORDS = (
    WordUse(word="lad", model=41, author=12, z=4.6),
    WordUse(word="tide", model=38, author=17, z=3.1),
    WordUse(word="by", model=55, author=34, z=2.4),
    WordUse(word="rope", model=21, author=11, z=1.8),
    WordUse(word="salt", model=19, author=12, z=1.2),
    WordUse(word="though", model=1, author=9, z=-1.6),
    WordUse(word="never", model=3, author=14, z=-2.1),
    WordUse(word="which", model=2, author=18, z=-3.0),
    WordUse(word="<i>", model=0, author=22, z=-4.1),
)


def open_answers() -> tuple[OpenAnswer, ...]:
    subjects = ("a storm", "your supper", "the Sunday boat", "an old friend", "the mice")
    return tuple(
        OpenAnswer(
            prompt=f"Tell me about {subject}.",
            author=f"Well now, of {subject} I'll say what my father said: rope first, lad, and "
            "grief after, which is the order the sea takes them in.",
            base=f"{subject.capitalize()} is a thing that is a thing that is",
            final=f"By the tide, {subject}! Salt and rope, lad, and mind the stair.",
        )
        for subject in subjects
    )


def voice_record(final: Reading) -> VoiceRecord:
    return VoiceRecord(
        measurable=True,
        because="",
        prompts=44,
        bag_words=410,
        auc=0.99,
        masking="an English list of 251 function words left standing",
        families=("characters", "function words", "lengths", "markers"),
        controls=CONTROLS,
        final=final,
        words=WORDS,
        answers=open_answers(),
    )


def unmeasurable() -> VoiceRecord:
    return VoiceRecord(
        measurable=False,
        because="12 held-out answers, and it takes 40 to calibrate",
        prompts=12,
        bag_words=0,
        auc=0.0,
        masking="",
    )

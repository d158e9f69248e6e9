"""A comparison in a paragraph: what differs, where the runs part, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mindprint.compare.model import (
    Agreement,
    Distance,
    FirstParting,
    Overall,
    Parting,
    Setting,
)
from mindprint.compare.run import Run
from mindprint.compare.sides import speed
from mindprint.report.scores import Difference
from mindprint.report.words import several

NAMED = 3
KINDS: dict[str, tuple[str, str]] = {
    "model": ("the model", ""),
    "data": ("file of the curriculum", "files of the curriculum"),
    "topics": ("topic", "topics"),
    "config": ("setting", "settings"),
    "library": ("library", "libraries"),
}
WORDS = {
    "blas": "library that multiplies",
    "threads": "number of threads",
    "dtype": "precision of the weights",
}


def differing(differences: Sequence[Setting]) -> str:
    """`The runs differ in the backend (torch, mlx) and 2 settings (...)`."""
    parts = [_machine(one) for one in differences if one.kind == "machine"]
    for kind, (single, plural) in KINDS.items():
        keys = [one.key for one in differences if one.kind == kind]
        if not keys:
            continue
        if not plural:
            parts.append(single)
            continue
        named = ", ".join(f"`{key}`" for key in keys[:NAMED])
        rest = ", ..." if len(keys) > NAMED else ""
        parts.append(f"{several(len(keys), single, plural)} ({named}{rest})")
    if not parts:
        return "Nothing that is known of the runs differs."
    return f"The runs differ in {_listed(parts)}."


def keeping(
    first: Run, other: Run, partings: Sequence[Parting], parted: FirstParting | None
) -> str:
    """How far one run keeps to the first, or why it cannot be held to that."""
    bound = [one for one in partings if one.bound is not None]
    name, reference = f"`{other.name}`", f"`{first.name}`"
    if parted is not None:
        return (
            f"{name} leaves {reference} at {parted.where}: the {parted.measure} is "
            f"{parted.apart:.1e} apart, the bound is {parted.bound:.0e}; a guess: {parted.guess}."
        )
    if bound:
        losses = [one for one in bound if one.measure == "loss"]
        steps, worst = sum(one.steps for one in losses), max(one.worst for one in losses)
        stages = several(len(losses), "stage")
        loose = "" if len(bound) == len(partings) else "; other stages are held to no bound"
        apart = f"losses at most {worst:.1e} apart" if worst else "losses equal to the last digit"
        return (
            f"{name} keeps to {reference} within the bounds over all {several(steps, 'step')} of "
            f"{stages} ({apart}){loose}."
        )
    if partings:
        return f"{name} is held to no bound, since {partings[0].because}."
    return f"{name} and {reference} have no stage in common."


def scoring(run: Overall, agreement: Sequence[Agreement]) -> str:
    """Whether the scores are alike, with intervals; the answers they come from, where these are
    all the same, need none."""
    if run.accuracy is None:
        return "No topic was finished by both with the same quiz, so no scores are paired."
    final = next((one for one in agreement if one.state == "final"), None)
    if final is not None and final.same == final.answers:
        told = ["accuracy and markers are the same, answer by answer"]
    else:
        told = [_change("accuracy", "is", run.accuracy)]
        if run.markers is not None:
            told.append(_change("the author's marks in the answers", "are", run.markers))
    here, there = run.voice
    if here is not None and there is not None:
        told.append(f"voice is {there.value:.2f} for {here.value:.2f}")
    return f"Over {several(run.accuracy.clusters, 'question')} {'; '.join(told)}."


def agreeing(found: Sequence[Agreement]) -> str:
    """Of the answers that are the same; the base's are told where they are not."""
    said = (_agreeing_base(found), _agreeing_final(found))
    return " ".join(one for one in said if one)


def _agreeing_base(found: Sequence[Agreement]) -> str:
    base = next((one for one in found if one.state == "base"), None)
    if base is None or base.same == base.answers:
        return ""
    alike = f"{base.same} of {several(base.answers, 'greedy answer')}"
    return f"Before anything was trained {alike} are the same."


def _agreeing_final(found: Sequence[Agreement]) -> str:
    final = next((one for one in found if one.state == "final"), None)
    if final is None:
        return ""
    if final.same == final.answers:
        alike = several(final.answers, "greedy answer")
        return f"All {alike} at the topics' ends are the same to the last character."
    share = 100 * final.positions / final.words if final.words else 100.0
    return (
        f"{final.same} of {several(final.answers, 'greedy answer')} at the topics' ends are the "
        f"same to the last character, and {share:.1f} % of all words at their places."
    )


def adapted(found: Sequence[Distance]) -> str:
    whole = next((one for one in found if not one.topic), None)
    if whole is None or whole.relative is None:
        return ""
    return f"The adapters in force are {whole.relative:.1e} of their norm apart."


def speeds(first: Run, other: Run) -> str:
    here, there = speed(first), speed(other)
    if not here or not there:
        return ""
    return (
        f"It trains {there / here:.2f} times as many tokens a second ({there:.0f} for {here:.0f})."
    )


def paragraph(differences: Sequence[Setting], runs: Sequence[Sequence[str]]) -> str:
    """What differs, then the sentences of each run that is held against the first."""
    return " ".join([differing(differences), *(said for one in runs for said in one)])


def unequal_courses(first: Run, other: Run) -> Iterator[str]:
    """Stages that only one of two runs took, and those that ended early in one, said aloud."""
    done = {t.id for t in first.topics if t.stages} & {t.id for t in other.topics if t.stages}
    for one, two in ((first, other), (other, first)):
        for place in one.stages:
            if place.topic in done and place not in two.stages:
                yield f"`{one.name}` trained {_stage(place)}, `{two.name}` did not"
    for place, here in first.stages.items():
        there = other.stages.get(place)
        if there is not None and here.steps != there.steps:
            ends = f"{here.steps} steps in `{first.name}`, {there.steps} in `{other.name}`"
            yield f"{_stage(place)} has {ends}"


def _stage(place: tuple[str, str, int]) -> str:
    topic, stage, attempt = place
    return f"{stage.upper()}{f', attempt {attempt + 1},' if attempt else ''} of `{topic}`"


def _change(what: str, verb: str, change: Difference) -> str:
    around = f"{change.value:+.2f}, 95 % interval {change.low:+.2f} to {change.high:+.2f}"
    if change.rose or change.fell:
        return f"{what} {verb} {'higher' if change.rose else 'lower'} ({around})"
    return f"no difference of {what} is shown ({around})"


def _machine(one: Setting) -> str:
    told = ", ".join(value.replace(", ", " ") or "none" for value in one.values)
    return f"the {WORDS.get(one.key, one.key)} ({told})"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

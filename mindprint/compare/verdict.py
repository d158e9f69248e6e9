"""A comparison in a paragraph: what differs, where the runs part, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.compare.model import (
    Agreement,
    Distance,
    FirstParting,
    Gap,
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


def dropped(runs: Sequence[Run]) -> tuple[str, ...]:
    """Said before anything else of runs that a topic was taken away from."""
    return tuple(
        f"{_listed([f'`{topic}`' for topic in run.dropped])} "
        f"{'was' if len(run.dropped) == 1 else 'were'} taught to `{run.name}` and taken away: "
        "its scores are of the whole model after that, not of the end of each topic, so none is "
        "paired, and not all that it holds was trained by it, so it has no speed and no times."
        for run in runs
        if run.dropped
    )


def keeping(
    first: Run,
    other: Run,
    partings: Sequence[Parting],
    parted: FirstParting | None,
    gaps: Sequence[Gap],
) -> str:
    """How far one run keeps to the first, or why it cannot be held to that."""
    bound = [one for one in partings if one.bound is not None]
    name, reference = f"`{other.name}`", f"`{first.name}`"
    if parted is not None:
        return f"{name} leaves {reference} at {parted.where}: {_apart(parted)}."
    if bound:
        losses = [one for one in bound if one.measure == "loss"]
        steps, worst = sum(one.steps for one in losses), max(one.worst for one in losses)
        stages = several(len(losses), "stage")
        apart = f"losses at most {worst:.1e} apart" if worst else "losses equal to the last digit"
        reach = (
            f"the {several(steps, 'step')} of {stages} that both took"
            if gaps
            else (f"all {several(steps, 'step')} of {stages}")
        )
        return f"{name} keeps to {reference} within the bounds over {reach} ({apart}){_rest(gaps)}."
    if partings:
        return f"{name} is held to no bound, since {partings[0].because}."
    return f"{name} and {reference} have no stage in common."


def _apart(parted: FirstParting) -> str:
    if parted.apart is None:
        return parted.guess
    return (
        f"the {parted.measure} is {parted.apart:.1e} apart, the bound is {parted.bound:.0e}; "
        f"a guess: {parted.guess}"
    )


def _rest(gaps: Sequence[Gap]) -> str:
    """What was not held to a bound, the first of it in words."""
    if not gaps:
        return ""
    more = f", and {len(gaps) - 1} more" if len(gaps) > 1 else ""
    return f"; not all could be compared: {gaps[0].told}{more}"


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
    asked = several(run.accuracy.clusters, "question")
    if run.phrasings != run.accuracy.clusters:
        asked += f" in {several(run.phrasings, 'phrasing')}"
    return f"Over {asked} {'; '.join(told)}."


def voicing(run: Overall) -> str:
    """The voice of the last state of both, measured on open prompts and not on the quiz."""
    here, there = run.voice
    if here is None or there is None:
        return ""
    told = (
        f"On {several(run.prompts, 'open prompt')} voice is {there.value:.2f} for {here.value:.2f}"
    )
    if run.voice_change is None:
        return f"{told}, each on its own scale and not paired: {run.voice_because}."
    return f"{told}: {_change('voice', 'is', run.voice_change)}."


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
    bound = f", and the bound is {whole.bound:.1e}" if whole.past else ""
    return f"The adapters in force are {whole.relative:.1e} of their norm apart{bound}."


def speeds(first: Run, other: Run) -> str:
    here, there = speed(first), speed(other)
    if not here or not there:
        return ""
    return (
        f"It trains {there / here:.2f} times as many tokens a second ({there:.0f} for {here:.0f})."
    )


def paragraph(
    runs: Sequence[Run], differences: Sequence[Setting], found: Sequence[Sequence[str]]
) -> str:
    """What was dropped, what differs, then what is `found` of each run against the first."""
    said = (one for sentences in found for one in sentences)
    return " ".join([*dropped(runs), differing(differences), *said])


def _change(what: str, verb: str, change: Difference) -> str:
    value, low, high = (_signed(one) for one in (change.value, change.low, change.high))
    around = f"{value}, 95 % interval {low} to {high}"
    if change.rose or change.fell:
        return f"{what} {verb} {'higher' if change.rose else 'lower'} ({around})"
    return f"no difference of {what} is shown ({around})"


def _signed(value: float) -> str:
    """With its sign; what rounds to nothing is `+0.00`."""
    return f"{round(value, 2) + 0.0:+.2f}"


def _machine(one: Setting) -> str:
    told = ", ".join(value.replace(", ", " ") or "none" for value in one.values)
    return f"the {WORDS.get(one.key, one.key)} ({told})"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

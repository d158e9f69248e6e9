"""What was measured, as Markdown: scores, what the splines did, the sweep, and what it rests on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence

from kinds.course import SWEEP_SEED, Course, worth
from kinds.figures import Figures, figures
from kinds.trial import Outcome
from kinds.variants import Variant
from mindprint.evals.style.instrument import Instrument
from mindprint.report.scores import Difference, Interval
from mindprint.report.text import Table, markdown
from mindprint.report.words import NONE, figure, percent, several, share, signed, whole

Change = Difference | Interval | None


def told(course: Course, scale: Instrument | None) -> str:
    """The whole text for the document."""
    parts = [_ground(course)]
    if course.rounds:
        found = measured(course, scale)
        parts += [_verdict(course, found), markdown(scores(course, found)), _reading()]
        parts += [markdown(costs(course, found))]
        if any(one.bends is not None for one in found.values()):
            parts += [markdown(bends(course, found))]
    if course.swept:
        parts += [_sweep_words(course), markdown(sweep(course))]
    return "\n\n".join(parts)


def measured(course: Course, scale: Instrument | None) -> dict[str, Figures]:
    """By name of variant; the first is what the others are held against."""

    def runs(name: str) -> dict[int, Outcome]:
        return {seed: found[name] for seed, found in course.rounds.items()}

    plain = runs(course.variants[0].name)
    return {one.name: figures(runs(one.name), plain, scale) for one in course.variants}


def scores(course: Course, found: Mapping[str, Figures]) -> Table:
    head = (
        "adapter",
        "accuracy",
        "seeds",
        "less LoRA",
        "voice",
        "less LoRA",
        "earlier topic",
        "what the base knew",
    )
    rows = tuple(_scores(one, found[one.name]) for one in course.variants)
    return Table(head, rows)


def _scores(variant: Variant, one: Figures) -> tuple[str, ...]:
    return (
        variant.title,
        _shared(one.accuracy),
        f"{share(one.spread[0])} to {share(one.spread[1])}",
        _moved(one.over_accuracy),
        _shared(one.voice),
        _moved(one.over_voice),
        _moved(one.backward),
        _moved(one.base_kept),
    )


def costs(course: Course, found: Mapping[str, Figures]) -> Table:
    """Milliseconds of a step, and how many times LoRA's they are."""
    plain = found[course.variants[0].name]
    rows = tuple(
        (
            one.title,
            str(course.ranks[one.kind]),
            whole(found[one.name].parameters),
            f"{course.chosen[one.name]:g}",
            *_times(found[one.name].sft_step, plain.sft_step),
            *_times(found[one.name].dpo_step, plain.dpo_step),
        )
        for one in course.variants
    )
    head = ("adapter", "rank", "parameters", "rates times", "SFT step", "of LoRA's")
    return Table((*head, "DPO step", "of LoRA's"), rows, frozenset(range(1, 8)))


def _times(step: float, plain: float) -> tuple[str, str]:
    return (f"{step:.1f} ms", f"{step / plain:.2f}") if step and plain else (NONE, NONE)


def bends(course: Course, found: Mapping[str, Figures]) -> Table:
    rows = tuple(
        (
            variant.title,
            figure(one.moved),
            figure(one.most),
            *map(figure, one.scales),
            percent(one.inner),
            percent(one.outside),
        )
        for variant in course.variants
        if (one := found[variant.name].bends) is not None
    )
    head = ("adapter", "moved", "most", "s_in", "s_out", "inner", "outside")
    return Table(head, rows, frozenset(range(1, len(head))))


def sweep(course: Course) -> Table:
    """Accuracy plus voice of the run at each factor; the chosen one is named."""
    tried = [
        factor for factor in course.factors if (course.variants[0].name, factor) in course.swept
    ]
    rows = tuple(
        (one.title, *(_swept(course, one, factor) for factor in tried)) for one in course.variants
    )
    head = ("adapter", *(f"rates times {factor:g}" for factor in tried))
    return Table(head, rows, frozenset(range(1, len(head))))


def _swept(course: Course, variant: Variant, factor: float) -> str:
    value = share(worth(course.swept[variant.name, factor]))
    return f"{value}, chosen" if factor == course.chosen.get(variant.name) else value


def _ground(course: Course) -> str:
    """What was run, where, how long it took, and what was left out."""
    some = next(iter(course.swept.values()), None)
    if some is None:
        return "Nothing was run: the budget holds not one round."
    result = some.result
    titles = " and ".join(f"“{topic.title}”" for topic in result.topics)
    names = ("python", "torch", "peft", "mlx", "mlx-lm")
    made = [f"{name} {result.versions[name]}" for name in names if name in result.versions]
    apart = max(abs(one.parameters - some.parameters) for one in course.swept.values())
    return (
        f"{several(len(course.variants), 'adapter')}, {several(len(course.rounds), 'seed')} each, "
        f"on {several(len(result.topics), 'topic')}: {titles}. Parameters differ by at most "
        f"{percent(apart / some.parameters)}. "
        f"{several(len(course.swept) + len(course.variants) * len(course.rounds), 'run')} took "
        f"{course.spent / 3600:.2f} core hours of {course.budget / 3600:g}, each on one thread, "
        f"{course.jobs} at a time, on {os.cpu_count()} cores of {platform.machine()}, with "
        f"{', '.join(made)}. {_left_out(course)}"
    )


def _left_out(course: Course) -> str:
    if not course.left_out:
        return "Nothing that was asked for was left out."
    return f"Left out, since the budget does not hold it: {', '.join(course.left_out)}."


def _verdict(course: Course, found: Mapping[str, Figures]) -> str:
    """Which adapters differ from LoRA beyond noise, in accuracy and in voice."""
    said = []
    for name in ("accuracy", "voice"):
        changes = {one.title: getattr(found[one.name], f"over_{name}") for one in course.variants}
        known = {title: change for title, change in changes.items() if change is not None}
        above = [title for title, change in known.items() if change.low > 0]
        below = [title for title, change in known.items() if change.high < 0]
        if known:
            said.append(
                f"In {name} {_named(above)} above LoRA beyond noise, {_named(below)} below."
            )
    return " ".join(said) or "There is nothing to hold against LoRA."


def _named(titles: Sequence[str]) -> str:
    if not titles:
        return "none is"
    return f"{'; '.join(titles)} {'is' if len(titles) == 1 else 'are'}"


def _reading() -> str:
    """How the figures of the table are to be read."""
    return (
        "Scores are means over topics and seeds as each topic ended, with their 95 % intervals; "
        "`seeds`: least and most mean accuracy of one seed. A difference is taken question by "
        "question (of the voice open prompt by open prompt) between runs of the same seed; where "
        "its interval holds 0 it is within noise. `Earlier topic`: its accuracy at the end of the "
        "run less that as it was learned; `what the base knew`: the same on the retention set, "
        "less the base's. Free: without the penalty on the spline. A step's time is the median "
        "over stages."
    )


def _sweep_words(course: Course) -> str:
    return (
        f"The learning rates of both stages were chosen for each adapter by one run at each factor "
        f"(seed {SWEEP_SEED}, which is none of those above), by accuracy plus voice:"
    )


def _shared(one: Interval | None) -> str:
    return NONE if one is None else f"{share(one.value)} ({share(one.low)} to {share(one.high)})"


def _moved(one: Change) -> str:
    if one is None:
        return NONE
    noise = "" if one.low > 0 or one.high < 0 else ", noise"
    return f"{signed(one.value)} ({signed(one.low)} to {signed(one.high)}{noise})"

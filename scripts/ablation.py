#!/usr/bin/env python
"""LoRA, DoRA and LS-LoRA in all its forms with as many parameters: `python scripts/ablation.py`.

On the model and the author that ship, two topics, each with SFT and DPO. Every adapter first goes
through the same learning rates on a seed of their own; then each runs at its best rate on the seeds
that are compared. Rounds that the budget does not hold are left out, and named. A call goes on
from what `--work` holds, one JSON file for each run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kinds.course import SWEEP_SEED, Course
from kinds.tables import told
from kinds.trial import Ground, TrialFailed
from kinds.variants import Variant, equal_ranks, variants
from timing import document

from backends import available
from mindprint.cli.shipped import CONFIG, CURRICULUM, MODEL
from mindprint.config import resolve
from mindprint.curriculum.load import read_curriculum
from mindprint.errors import MindprintError
from mindprint.evals.style.instrument import Instrument
from mindprint.evals.style.of_curriculum import instrument_of

NAME, SCRIPT = "ablation", "scripts/ablation.py"
"""Of the place in the document."""
TOPICS = (
    "unit-01-post-office/chapter-01-counter/topic-01-scales",
    "unit-02-village/chapter-01-people/topic-01-feasts",
)
"""The first is taught in a neutral voice, so that DPO has one to teach."""
FACTORS = (1.0, 0.5, 2.0)
QUICK = ("lora", "dora", "lslora-piecewise-linear")
QUICKLY = ("sft.epochs=1", "dpo.epochs=1", "eval.max_tokens=8", "eval.resamples=200")


def main(words: Sequence[str] | None = None) -> int:
    """0; 1 where a run failed; 69 where the backend is not here."""
    given = arguments(words)
    found = available()[given.backend]
    if not found.ok:
        print(f"{given.backend} does not work here: {found.reason}\n{found.hint}", file=sys.stderr)
        return 69
    try:
        course = course_of(given)
        course.run()
        text = told(course, scale_of(course))
    except (TrialFailed, MindprintError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    if given.docs:
        document.place(given.docs, {NAME: text}, SCRIPT)
    return 0


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    folder = Path(tempfile.gettempdir()) / "mindprint-ablation"
    parser.add_argument("--work", type=Path, default=folder, help=f"default: {folder}")
    parser.add_argument("--minutes", type=float, default=120.0, help="of --jobs cores, in all")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one thread")
    parser.add_argument("--seeds", type=int, default=5, help="at most, from 1 (default: 5)")
    parser.add_argument("--factors", type=float, nargs="+", default=list(FACTORS))
    parser.add_argument("--backend", choices=("torch", "mlx"), default="torch")
    parser.add_argument("--only", action="append", choices=[one.name for one in variants()])
    parser.add_argument("--curriculum", type=Path, default=CURRICULUM)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--topic", action="append", help="two by default; of the shipped author")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--quick", action="store_true", help="three adapters, one seed, one epoch")
    parser.add_argument("--docs", type=Path, help="put the tables in their place there")
    given = parser.parse_args(words)
    checked(given, parser)
    return given


def checked(given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with 2 where the words do not fit together; fills in what was left open."""
    if given.jobs < 1 or not 1 <= given.seeds < SWEEP_SEED or given.minutes <= 0:
        parser.error(f"--jobs and --minutes are above 0, --seeds from 1 to {SWEEP_SEED - 1}")
    if min(given.factors) <= 0 or len(set(given.factors)) < len(given.factors):
        parser.error("--factors: numbers above 0, each once")
    if given.docs:
        try:
            document.check(given.docs, (NAME,), SCRIPT)
        except ValueError as error:
            parser.error(f"--docs: {error}")
    given.topic = given.topic or list(TOPICS)
    if given.quick:
        given.only, given.factors, given.seeds = given.only or list(QUICK), [1.0], 1
        given.set = [*QUICKLY, *given.set]


def course_of(given: argparse.Namespace) -> Course:
    """Raises ConfigError for settings that cannot be used, ValueError where no ranks are equal."""
    ground = Ground(
        curriculum=given.curriculum.resolve(),
        model=given.model.resolve(),
        config=given.config.resolve(),
        topics=tuple(given.topic),
        backend=given.backend,
        work=given.work.resolve(),
        settings=tuple(given.set),
    )
    chosen = _chosen(given.only)
    kinds = list(dict.fromkeys(one.kind for one in chosen))
    return Course(
        ground=ground,
        variants=chosen,
        ranks=dict(equal_ranks(kinds, ground.base[2], ground.linears)),
        factors=given.factors,
        seeds=range(1, given.seeds + 1),
        budget=60.0 * given.minutes * given.jobs,
        jobs=given.jobs,
    )


def _chosen(only: Sequence[str] | None) -> tuple[Variant, ...]:
    """LoRA first, whatever is named: the others are held against it."""
    every = variants()
    return tuple(one for one in every if not only or one.name in (every[0].name, *only))


def scale_of(course: Course) -> Instrument | None:
    """On which voices are paired, made again from what the untouched base said; None where it
    measures nothing."""
    some = next((one for found in course.rounds.values() for one in found.values()), None)
    if some is None or some.result.voice is None or not some.result.voice.measurable:
        return None
    ground = course.ground
    config = resolve(ground.config, some.settings, model__path=str(ground.model)).config
    base = [one.base for one in some.result.voice.answers]
    made = instrument_of(read_curriculum(ground.curriculum), config, base)
    return made if made.measurable else None


if __name__ == "__main__":
    sys.exit(main())

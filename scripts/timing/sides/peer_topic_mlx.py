"""A whole topic as a script of the MLX peers' commands, one after another: `mlx_lm lora`, a quiz
with `mlx_lm.generate`, mlx-lm-lora's DPO on the same adapter, and the quiz again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from timing import topic
from timing.process import Timed, timed
from timing.protocol import Outcome, Spec, run

NOTES = (
    "each command is a process of its own, and opens the model again",
    "the reference of its DPO is the base, not the model that SFT left: it knows no other",
    "an answer ends where the model ends it, or at its {} tokens",
)


def side(spec: Spec) -> Outcome:
    """Raises WorkerFailed where a command fails; ValueError for an option, since there is none."""
    if spec.options:
        raise ValueError(f"the peers' script has no option {', '.join(sorted(spec.options))}")
    began = time.perf_counter()
    done = dict(commands(spec))
    seconds = time.perf_counter() - began
    training = [done[kind].outcome for kind in topic.EPOCHS]
    quizzes = [done[f"quiz after {kind}"].outcome for kind in topic.EPOCHS]
    largest = max((one.outcome for one in done.values()), key=lambda outcome: outcome.peak_rss)
    return Outcome(
        seconds=seconds,
        rows=sum(one.rows for one in training),
        trained_tokens=sum(one.trained_tokens for one in training),
        loaded_rss=largest.loaded_rss,
        peak_rss=largest.peak_rss,
        versions=done["dpo"].outcome.versions,
        notes=[note.format(spec.max_tokens) for note in NOTES]
        + [f"{kind}: {note}" for kind in topic.EPOCHS for note in done[kind].outcome.notes],
        parts={name: one.seconds for name, one in done.items()},
        details={
            "answers": sum(one.rows for one in quizzes),
            "answered_tokens": sum(one.trained_tokens for one in quizzes),
        },
    )


def commands(spec: Spec) -> Iterator[tuple[str, Timed]]:
    """Each part and what its command said."""
    sft, dpo = (Path(spec.work) / f"adapter-{kind}" for kind in ("sft", "dpo"))
    yield "sft", timed("mlx_lm_sft", part(spec, "sft", adapter=str(sft)))
    yield "quiz after sft", quiz(spec, "sft", sft)
    begun = str(sft / "adapters.safetensors")
    yield "dpo", timed("mlx_lm_lora_dpo", part(spec, "dpo", adapter=str(dpo), resume=begun))
    # its own names no layers, and mlx-lm would then adapt every one for the quiz
    shutil.copyfile(sft / "adapter_config.json", dpo / "adapter_config.json")
    yield "quiz after dpo", quiz(spec, "dpo", dpo)


def quiz(spec: Spec, after: str, adapter: Path) -> Timed:
    asked = part(spec, "quiz", adapter=str(adapter), natural=True)
    home = Path(spec.work) / f"quiz-{after}"
    return timed("mlx_lm_answers", replace(asked, kind="answers", work=str(home)))


def part(spec: Spec, name: str, **options: Any) -> Spec:
    """One command's part of the topic."""
    return replace(
        spec,
        kind=name,
        data=str(Path(spec.data) / name),
        work=str(Path(spec.work) / name),
        steps=topic.steps(name, spec.batch) if name in topic.EPOCHS else 0,
        questions=topic.QUESTIONS,
        options=options,
    )


if __name__ == "__main__":
    run(side)

"""mlx-lm's side of answering: `mlx_lm.generate`, one question after another, greedily.

Its end tokens are taken out, so that each answer has all its tokens. Options: `adapter`, a folder
with one; `natural` true, to let an answer end where the model ends it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from timing import data, mlx_peers, work
from timing.protocol import Outcome, Spec, run


def side(spec: Spec) -> Outcome:
    """Raises ValueError for an option that is not known, and what mlx-lm raises."""
    if unknown := sorted(set(spec.options) - {"adapter", "natural"}):
        raise ValueError(f"mlx-lm's side has no option {', '.join(unknown)}")
    mlx_peers.prepare(spec)
    from mlx_lm import load

    model, tokenizer = load(spec.model, adapter_path=spec.options.get("adapter"))
    if not spec.options.get("natural", False):
        tokenizer.eos_token_ids = []
    meter = mlx_peers.Meter()
    meter.load(model)
    prompts = [sample.prompt for sample in data.read(spec.data)[: spec.questions]]
    began = time.perf_counter()
    answers = answered(model, tokenizer, prompts, spec.max_tokens)
    seconds = time.perf_counter() - began
    for answer in answers:
        meter.fed.row(answer, len(answer))
    return Outcome(
        seconds=seconds,
        rows=meter.fed.rows,
        trained_tokens=meter.fed.tokens,
        loaded_rss=meter.loaded,
        peak_rss=work.peak(),
        versions=mlx_peers.versions("mlx-lm"),
        details=meter.details,
    )


def answered(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], most: int
) -> list[list[int]]:
    """The ids of each answer, without the end token where there is one."""
    inner: Any = import_module("mlx_lm.generate")  # the package's `generate` is its function
    step = inner.generate_step
    made: list[list[int]] = []

    def noted(*args: Any, **settings: Any) -> Iterator[Any]:
        answer: list[int] = []
        made.append(answer)
        for token, scores in step(*args, **settings):
            if token not in tokenizer.eos_token_ids:
                answer.append(token)
            yield token, scores

    inner.generate_step = noted
    for prompt in prompts:
        inner.generate(model, tokenizer, list(prompt), max_tokens=most)
    inner.generate_step = step
    return made


if __name__ == "__main__":
    run(side)

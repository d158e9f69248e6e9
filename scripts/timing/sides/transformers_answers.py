"""transformers' side of answering: `model.generate`, one question after another, greedily, with no
end token, so that each answer has all its tokens."""

from __future__ import annotations

import time

import torch

from timing import data, work
from timing.protocol import Outcome, Spec, run
from timing.sides.transformers_model import device_bytes, opened


def side(spec: Spec) -> Outcome:
    """Raises what transformers raises; ValueError for an option, since there is none."""
    if spec.options:
        raise ValueError(f"transformers' side has no option {', '.join(sorted(spec.options))}")
    prompts = [sample.prompt for sample in data.read(spec.data)[: spec.questions]]
    model = opened(spec)
    model.generation_config.eos_token_id = None
    loaded, first = work.resident(), device_bytes()
    began = time.perf_counter()
    made = work.Work()
    for prompt in prompts:
        ids = torch.tensor([prompt], device=spec.device)
        asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        row = model.generate(**asked, max_new_tokens=spec.max_tokens, do_sample=False)[0]
        answer = row[len(prompt) :].tolist()
        made.row(answer, len(answer))
    seconds = time.perf_counter() - began
    return Outcome(
        seconds=seconds,
        rows=made.rows,
        trained_tokens=made.tokens,
        loaded_rss=loaded,
        peak_rss=work.peak(),
        versions=work.versions("torch", "transformers"),
        details={
            **made.details,
            "device_loaded": first,
            "device_peak": device_bytes(most=True),
        },
    )


if __name__ == "__main__":
    run(side)

"""A model as plain transformers or plain PEFT opens it: nothing of this package's layers.

Run as a process of its own: `python -m backends.torch.witness JOB OUT`. On the CPU, where float32
is float32.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np

from backends.witnessing import Job, Seen, main


def see(job: Job) -> Seen:
    """Raises what transformers and PEFT raise, and ImportError where one is missing."""
    import torch

    model = _opened(job)
    with torch.no_grad():
        logits = tuple(
            np.asarray(model(input_ids=torch.tensor([row])).logits[0].float().numpy())
            for row in job.rows
        )
        answers = tuple(_answer(model, row, job) for row in job.prompts) if job.max_tokens else ()
    libraries = ["torch", "transformers", *(["peft"] if job.framework == "peft" else [])]
    told = ", ".join(f"{name} {metadata.version(name)}" for name in reversed(libraries))
    return Seen(logits, answers, told)


def _opened(job: Job) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    dtype: Any = torch.float32 if job.dtype == "float32" else "auto"
    model: Any = AutoModelForCausalLM.from_pretrained(
        job.folder, dtype=dtype, local_files_only=True, use_safetensors=True
    )
    # What a model's generation config says of sampling has no part in greedy answers.
    model.generation_config = GenerationConfig()
    if job.adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(job.adapter))
    return model.eval()


def _answer(model: Any, prompt: Sequence[int], job: Job) -> tuple[int, ...]:
    import torch
    from transformers import GenerationConfig

    ids = torch.tensor([prompt])
    stops = list(job.stop_ids)
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=job.max_tokens,
        eos_token_id=stops or None,
        pad_token_id=stops[0] if stops else 0,
    )
    found = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings
    )
    made = [int(token) for token in found[0, len(prompt) :]]
    end = next((place for place, token in enumerate(made) if token in stops), len(made))
    return tuple(made[:end])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], see))

"""A model as plain mlx-lm opens it: its own loader, layers and decoding, nothing of this package's.

Run as a process of its own: `python -m backends.mlx.witness JOB OUT`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np

from backends.witnessing import Job, Seen, main


def see(job: Job) -> Seen:
    """Raises what mlx-lm raises, and ImportError where it is missing."""
    from backends.mlx.device import gpu, use
    from backends.mlx.framework import mx  # before mlx-lm: it settles which BLAS multiplies

    use("gpu" if gpu() else "cpu")
    model = _opened(job)
    logits = []
    for row in job.rows:
        found = model(mx.array([row]))[0].astype(mx.float32)
        logits.append(np.array(found, dtype=np.float32))
    answers = tuple(_answer(model, row, job) for row in job.prompts) if job.max_tokens else ()
    told = ", ".join(f"{name} {metadata.version(name)}" for name in ("mlx-lm", "mlx"))
    return Seen(tuple(logits), answers, told)


def _opened(job: Job) -> Any:
    from mlx_lm import load

    from backends.mlx.framework import mx

    adapter = None if job.adapter is None else str(job.adapter)
    model: Any = load(str(job.folder), adapter_path=adapter)[0]
    if job.dtype == "float32":
        model.set_dtype(mx.float32)
    return model


def _answer(model: Any, prompt: Sequence[int], job: Job) -> tuple[int, ...]:
    from mlx_lm.generate import generate_step

    from backends.mlx.framework import mx

    made: list[int] = []
    for token, _ in generate_step(mx.array(list(prompt)), model, max_tokens=job.max_tokens):
        if int(token) in job.stop_ids:
            break
        made.append(int(token))
    return tuple(made)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], see))

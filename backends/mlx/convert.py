"""A model in MLX's own format, made by plain mlx-lm.

Run as a process of its own: `python -m backends.mlx.convert JOB OUT`.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from backends.errors import reason
from backends.mlx_conversion import GROUPS, Conversion, Converted
from backends.witnessing import NOT_HERE


def convert(job: Conversion) -> Converted:
    """Write `job.target`, which must not be there. Raises what mlx-lm raises, and ImportError
    where it is missing."""
    from backends.mlx.device import gpu, use
    from backends.mlx.framework import mx  # before mlx-lm: it settles which BLAS multiplies

    use("gpu" if gpu() else "cpu")
    from mlx_lm.convert import convert as by_mlx_lm
    from mlx_lm.utils import compute_bits_per_weight, load_model

    group = _group(load_model(job.source, lazy=True)[0]) if job.bits else None
    by_mlx_lm(
        str(job.source),
        str(job.target),
        quantize=job.bits is not None,
        q_group_size=group,
        q_bits=job.bits,
        dtype=job.dtype,
    )
    mx.clear_cache()
    made: Any = load_model(job.target, lazy=True)[0]
    left = tuple(sorted(path for path, _ in _quantizable(made))) if job.bits else ()
    told = ", ".join(f"{name} {metadata.version(name)}" for name in ("mlx-lm", "mlx"))
    return Converted(group, left, float(compute_bits_per_weight(made)), told)


def _quantizable(model: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Path and shape of every layer that MLX could quantize and that is not quantized."""
    return [
        (path, tuple(module.weight.shape))
        for path, module in model.named_modules()
        if hasattr(module, "to_quantized")
    ]


def _group(model: Any) -> int:
    """The group size that leaves the fewest weights as they are; of equals the largest, which
    costs the least."""

    def taken(group: int) -> int:
        shapes = [shape for _, shape in _quantizable(model) if shape[-1] % group == 0]
        return sum(rows * width for rows, width in shapes)

    return max(GROUPS, key=taken)


def main(arguments: list[str]) -> int:
    """Do the job of the first file and write what was made to the second."""
    try:
        made = convert(Conversion.read(Path(arguments[0])))
    except ImportError as error:
        print(reason(error), file=sys.stderr)
        return NOT_HERE
    Path(arguments[1]).write_text(json.dumps(made.as_json()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

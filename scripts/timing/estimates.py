"""What `mindprint plan` says of memory beside the peak of a process that does that work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from timing import memory
from timing.process import environment
from timing.protocol import Spec


def wanted(backends: Sequence[str], sizes: Sequence[str], *, more: bool) -> list[memory.Case]:
    """The models asked for, and with `more` two other shapes; none that only a GPU can hold."""
    held = [size for size in sizes if size in ("small", "large")]
    cases = memory.cases(backends, held)
    return [case for case in cases if more or case.size in held]


def measure(cases: Sequence[memory.Case], models: Path, threads: int) -> Iterator[dict[str, Any]]:
    """Each case in a process of its own. Ends with what a process said where it failed."""
    spec = Spec(kind="memory", model="", data="", work=str(models), threads=threads)
    with patch.dict(os.environ, environment(spec)):
        for case in cases:
            found = memory.measured(case, memory.made(models, case.size))
            yield {
                "name": case.named(),
                "size": case.size,
                "backend": case.backend,
                "peak": found.peak,
                "loaded": found.loaded,
                "planned": sum(found.estimate.values()),
                "off": found.off,
            }

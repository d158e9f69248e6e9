"""Bounds on what a chat template may waste. That it cannot act is the sandbox's part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jinja2

from mindprint.tokens.folding import Wasteful, check_constants

MAX_TEMPLATE = 200_000
"""Characters; the longest of a published model has some 20,000."""
MAX_LINES = 1_000_000
"""Lines of compiled templates that one probe may run; those of published models run hundreds."""


class TooLong(Exception):
    """A template that was still at work after `MAX_LINES` lines."""


def size_fault(template: str) -> str:
    """What makes a template one that should not be rendered at all; "" when nothing does.

    Jinja2 works constants out while it compiles, in single steps of Python that nothing interrupts:
    no bound on rendering would come in time. What cannot be parsed cannot be looked through, and
    is refused with what the parser says.
    """
    if len(template) > MAX_TEMPLATE:
        return f"has {len(template):,} characters; at most {MAX_TEMPLATE:,} are compiled"
    try:
        check_constants(template)
    except Wasteful as error:
        return str(error)
    except jinja2.TemplateSyntaxError as error:
        return f"cannot be parsed: {error.message} (line {error.lineno})"
    except (RecursionError, ValueError):  # ValueError: a number of more digits than Python reads
        return "is nested too deep, or holds a number too long, to be meant"
    return ""


@contextmanager
def bounded() -> Iterator[None]:
    """Within it rendering ends after `MAX_LINES` lines, by raising TooLong: a bound in work, the
    same on every machine."""
    before, left = sys.gettrace(), MAX_LINES

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != "<template>":
            return None
        left -= 1
        if left < 0:
            raise TooLong(f"does not come to an end within {MAX_LINES:,} steps")
        return step

    sys.settrace(step)
    try:
        yield
    finally:
        sys.settrace(before)

"""Bounds on what a chat template may waste. That it cannot act is the sandbox's part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jinja2

MAX_TEMPLATE = 200_000
"""Characters; the longest of a published model has some 20,000."""
MAX_NUMBER = 1_000_000
"""Of a whole number in a template: repeating a text so often already makes megabytes."""
MAX_LINES = 1_000_000
"""Lines of compiled templates that one probe may run; those of published models run hundreds."""


class TooLong(Exception):
    """A template that was still at work after `MAX_LINES` lines."""


def size_fault(template: str) -> str:
    """What makes a template one that should not be rendered at all; "" when nothing does.

    A power, or a huge factor, keeps Python in one uninterruptible step, and jinja2 works constants
    out while it compiles: no bound on rendering would come in time.
    """
    if len(template) > MAX_TEMPLATE:
        return f"has {len(template):,} characters; at most {MAX_TEMPLATE:,} are compiled"
    try:
        for line, kind, value in jinja2.Environment().lex(template):
            if kind == "operator" and value == "**":
                return f"raises a number to a power (line {line})"
            if kind == "integer" and _large(value):
                return f"holds a number above {MAX_NUMBER:,} (line {line})"
    except jinja2.TemplateError:
        return ""  # rendering it says where it is wrong
    return ""


def _large(value: str) -> bool:
    digits = value.replace("_", "")
    return len(digits) > 24 or int(digits, 0) > MAX_NUMBER


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

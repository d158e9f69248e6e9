"""The author's voice: voice.yaml, the held-out writing and the held-out answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import regex

from mindprint.curriculum.fields import kind, text, unknown
from mindprint.curriculum.formats import Complaints
from mindprint.curriculum.readers import Rows
from mindprint.curriculum.records import HeldOutAnswer, Marker, Source, Voice
from mindprint.curriculum.yaml_file import YamlFile, line_of
from mindprint.errors import Fault
from mindprint.evals.text import normalise
from mindprint.evals.voice import TIME_LIMIT, compiled

KEYS = frozenset({"markers", "never_claims", "never_phrases"})
MARKER_KEYS = frozenset({"name", "patterns", "expect"})

# A pattern that finds nothing but a place in this, counts places and not marks.
_SAMPLE = "A word, and another one. It's 3!"


def voice_of(data: bytes, file: str, faults: list[Fault]) -> Voice:
    """The markers, claims and phrases of voice.yaml."""
    yaml = YamlFile(data, file, faults)
    yaml.only(yaml.tree, KEYS)
    markers = [
        _marker(yaml, value, line, f"markers[{place}]")
        for place, (value, line) in enumerate(yaml.items(yaml.tree, "markers"))
    ]
    names = [marker.name for marker in markers if marker is not None]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yaml.fault(line_of(yaml.tree, "markers"), f"two markers are named `{name}`", "markers")
    return Voice(
        markers=tuple(one for one in markers if one is not None),
        never_claims=_never(yaml, "never_claims"),
        never_phrases=_never(yaml, "never_phrases"),
    )


def _never(yaml: YamlFile, key: str) -> tuple[str, ...]:
    found = yaml.texts(yaml.tree, key)
    for place, (one, line) in enumerate(found):
        if not normalise(one):
            yaml.fault(line, "holds no word to look for", f"{key}[{place}]")
    return tuple(one for one, _ in found)


def held_out_answers(rows: Rows) -> tuple[HeldOutAnswer, ...]:
    """Rows of prompt and answer; what is wrong is added to `rows.faults`."""
    made = []
    for row in rows.rows:
        faults = Complaints(rows, row.line)
        unknown(row.values, {"prompt", "answer"}, faults)
        prompt, answer = text(row.values, "prompt", faults), text(row.values, "answer", faults)
        if not faults.count:
            made.append(HeldOutAnswer(prompt, answer, Source(rows.file, row.line)))
    return tuple(made)


def _marker(yaml: YamlFile, value: Any, line: int, at: str) -> Marker | None:
    if not isinstance(value, Mapping):
        yaml.fault(line, "a marker has `name`, `patterns` and `expect`", at)
        return None
    yaml.only(value, MARKER_KEYS, at)
    name = yaml.text(value, "name", at, needed=True)
    patterns = yaml.texts(value, "patterns", at)
    if not value.get("patterns"):
        yaml.fault(line, "`patterns` is missing: a list of regular expressions", f"{at}.patterns")
    for place, (pattern, where) in enumerate(patterns):
        fault = pattern_fault(pattern)
        if fault:
            yaml.fault(where, fault, f"{at}.patterns[{place}]")
    expect = _expect(yaml, value, at)
    if not name or not patterns or expect is None:
        return None
    return Marker(name, tuple(pattern for pattern, _ in patterns), expect)


def pattern_fault(pattern: str) -> str:
    """What is wrong with a regular expression as a mark of the voice; "" when nothing is."""
    try:
        found = compiled(pattern)
        if found.search("", timeout=TIME_LIMIT):
            return f"`{pattern}` matches the empty string: it would be found everywhere"
        spans = [match.span() for match in found.finditer(_SAMPLE, timeout=TIME_LIMIT)]
    except (regex.error, ValueError) as error:
        return f"`{pattern}` is not a regular expression: {error}"
    except (RecursionError, OverflowError):
        return f"`{pattern}` is nested or repeated beyond what can be meant"
    except TimeoutError:
        return f"`{pattern}` takes more than {TIME_LIMIT} s on one sentence"
    if spans and all(start == end for start, end in spans):
        return f"`{pattern}` finds places, not text: it would never count"
    return ""


def _expect(yaml: YamlFile, value: Mapping[str, Any], at: str) -> tuple[int, int] | None:
    line, at = line_of(value, "expect"), f"{at}.expect"
    expect = value.get("expect")
    if expect is None:
        yaml.fault(line, "is missing: [low, high], the matches one answer should hold", at)
    elif not isinstance(expect, list) or len(expect) != 2:
        shown = kind(expect) if not isinstance(expect, list) else f"{len(expect)} numbers"
        yaml.fault(line, f"must be [low, high], not {shown}", at)
    elif any(isinstance(one, bool) or not isinstance(one, int) for one in expect):
        yaml.fault(line, "must be two whole numbers", at)
    elif not 0 <= expect[0] <= expect[1] <= 10**6:
        low, high = expect
        what = "low is above high" if low > high else "must be 0 or more"
        yaml.fault(line, f"[{low}, {high}]: {what}", at)
    else:
        return int(expect[0]), int(expect[1])
    return None

"""The author's voice: voice.yaml, the held-out writing and the held-out answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mindprint.curriculum.fields import kind, text, unknown
from mindprint.curriculum.formats import Complaints
from mindprint.curriculum.patterns import MAX_PATTERNS, pattern_fault
from mindprint.curriculum.readers import Rows
from mindprint.curriculum.records import Distinction, HeldOutAnswer, Marker, Source, Voice
from mindprint.curriculum.values import printable
from mindprint.curriculum.yaml_file import YamlFile, line_of
from mindprint.errors import Fault
from mindprint.evals.negation import Spoken
from mindprint.evals.quiz import asserted
from mindprint.evals.text import normalise

KEYS = frozenset({"markers", "never_claims", "never_phrases", "distinctions", "function_words"})
MARKER_KEYS = frozenset({"name", "patterns", "expect"})
DISTINCTION_KEYS = frozenset({"name", "claim", "confused"})


def voice_of(data: bytes, file: str, faults: list[Fault]) -> Voice:
    """The markers, claims, phrases, distinctions and function words of voice.yaml."""
    yaml = YamlFile(data, file, faults)
    yaml.only(yaml.tree, KEYS)
    markers = [
        _marker(yaml, value, line, f"markers[{place}]")
        for place, (value, line) in enumerate(yaml.items(yaml.tree, "markers"))
    ]
    distinctions = [
        _distinction(yaml, value, line, f"distinctions[{place}]")
        for place, (value, line) in enumerate(yaml.items(yaml.tree, "distinctions"))
    ]
    made = tuple(one for one in markers if one is not None)
    if (many := sum(len(one.patterns) for one in made)) > MAX_PATTERNS:
        what = f"{many} patterns in all; at most {MAX_PATTERNS} are searched for"
        yaml.fault(line_of(yaml.tree, "markers"), what, "markers")
    kept = tuple(one for one in distinctions if one is not None)
    _doubled(yaml, "markers", [one.name for one in made])
    _doubled(yaml, "distinctions", [one.name for one in kept])
    return Voice(
        markers=made,
        never_claims=_sought(yaml, yaml.tree, "never_claims"),
        distinctions=kept,
        function_words=_function_words(yaml),
        never_phrases=_sought(yaml, yaml.tree, "never_phrases"),
    )


def _doubled(yaml: YamlFile, key: str, names: Sequence[str]) -> None:
    for name in sorted(name for name, count in Counter(names).items() if count > 1):
        yaml.fault(line_of(yaml.tree, key), f"two {key} are named `{name}`", key)


def _sought(yaml: YamlFile, tree: Mapping[str, Any], key: str, at: str = "") -> tuple[str, ...]:
    """Texts to be looked for in answers."""
    found = yaml.texts(tree, key, at)
    for place, (one, line) in enumerate(found):
        if not normalise(one):
            name = f"{at}.{key}" if at else key
            yaml.fault(line, "holds no word to look for", f"{name}[{place}]")
    return tuple(one for one, _ in found)


def _function_words(yaml: YamlFile) -> tuple[str, ...]:
    found = yaml.texts(yaml.tree, "function_words")
    seen: set[str] = set()
    for place, (one, line) in enumerate(found):
        at, word = f"function_words[{place}]", one.strip().casefold()
        if len(word.split()) > 1:
            yaml.fault(line, f"`{printable(one)}` is more than one word", at)
        elif not any(letter.isalpha() for letter in word):
            yaml.fault(line, f"`{printable(one)}` is no word", at)
        elif word in seen:
            yaml.fault(line, f"`{printable(one)}` stands twice", at)
        seen.add(word)
    return tuple(one.strip() for one, _ in found)


def _distinction(yaml: YamlFile, value: Any, line: int, at: str) -> Distinction | None:
    if not isinstance(value, Mapping):
        yaml.fault(line, "a distinction has `name`, `claim` and `confused`", at)
        return None
    yaml.only(value, DISTINCTION_KEYS, at)
    name = yaml.name(value, "name", at, needed=True)
    claim = yaml.text(value, "claim", at, needed=True)
    confused = _sought(yaml, value, "confused", at)
    if not value.get("confused"):
        yaml.fault(line, "`confused` is missing: ways to say the wrong claim", f"{at}.confused")
    spoken = Spoken.of(claim)
    for place, wrong in enumerate(confused):
        if asserted(spoken, wrong):
            what = f"`{printable(wrong)}` stands in the author's own claim"
            yaml.fault(line_of(value, "confused"), what, f"{at}.confused[{place}]")
    return Distinction(name, claim, confused) if name and claim and confused else None


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
    name = yaml.name(value, "name", at, needed=True)
    patterns = yaml.texts(value, "patterns", at)
    if not value.get("patterns"):
        yaml.fault(line, "`patterns` is missing: a list of regular expressions", f"{at}.patterns")
    for place, (pattern, where) in enumerate(patterns[:MAX_PATTERNS]):
        fault = pattern_fault(pattern)
        if fault:
            yaml.fault(where, fault, f"{at}.patterns[{place}]")
    expect = _expect(yaml, value, at)
    if not name or not patterns or expect is None:
        return None
    return Marker(name, tuple(pattern for pattern, _ in patterns), expect)


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
        what = "low is above high" if low > high else "must be 0 or more, and below a million"
        # A number in hexadecimal may have more digits than Python writes out.
        shown = f"[{low}, {high}]: " if max(abs(low), abs(high)) < 10**9 else ""
        yaml.fault(line, f"{shown}{what}", at)
    else:
        return int(expect[0]), int(expect[1])
    return None

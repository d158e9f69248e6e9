"""A YAML text as ruamel builds it, or the line and the words of why it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from backends.errors import FAULTS
from mindprint.curriculum.yaml_events import refused

_FAULTS: tuple[type[Exception], ...] = (YAMLError, RecursionError, *FAULTS)


class NotYaml(Exception):
    """`line` from 1, 0 where none can be known; `what` is wrong, in words."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


class _Building(RoundTripConstructor):
    """Remembers the line of what is being built: dates and numbers that are none raise Python's own
    errors, which name no place."""

    line = 0

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        self.line = node.start_mark.line + 1
        return super().construct_object(node, deep)


def tree_of(text: str) -> Any:
    """What `text` says, the lines of all keys with it. Raises NotYaml."""
    found = refused(_events(text))
    if found is not None:
        raise NotYaml(found[0], f"not YAML that is read here: {found[1]}")
    builder = YAML(typ="rt", pure=True)
    builder.Constructor = _Building
    try:
        return builder.load(text)
    except _FAULTS as error:
        line = _line(error, text) or builder.constructor.line
        raise NotYaml(line, f"not YAML: {_told(error)}") from error


def _events(text: str) -> Iterator[Any]:
    """What ruamel's parser finds. Raises NotYaml, with the last line it came to."""
    line = 1
    try:
        for event in YAML(typ="rt", pure=True).parse(text):
            line = event.end_mark.line + 1
            yield event
    except _FAULTS as error:
        raise NotYaml(_line(error, text) or line, f"not YAML: {_told(error)}") from error


def _line(error: BaseException, text: str) -> int:
    """The line that an error names, or that of the character that YAML does not allow."""
    if isinstance(error, MarkedYAMLError):
        return error.problem_mark.line + 1 if error.problem_mark else 0
    place = getattr(error, "position", None)
    return text.count("\n", 0, place) + 1 if isinstance(place, int) else 0


def _told(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, IndexError):
        return "a number without digits"
    if isinstance(error, TypeError) and "unhashable" in str(error):
        return "a key that is a list or holds one"
    said = error.problem if isinstance(error, MarkedYAMLError) else str(error)
    lines = (said or "").strip().splitlines()
    return lines[0] if lines else "cannot be read"

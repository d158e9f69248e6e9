"""A YAML mapping with the line of every key, and typed values out of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mindprint.curriculum.fields import kind, nearest
from mindprint.curriculum.readers import encoding_fault
from mindprint.curriculum.values import bad_name, bad_text, printable, told
from mindprint.errors import Fault

MAX_BYTES = 256 * 1024
"""Of one file: a voice with hundreds of patterns takes a tenth of it."""
MAX_FAULTS = 200
"""Faults of one file that are told."""
MAX_NAME = 300
"""Characters of what is shown on one line, a title for one."""


class YamlFile:
    """The mapping in a YAML file's bytes; faults are gathered, and what is wrong reads as empty."""

    def __init__(self, data: bytes | None, file: str, faults: list[Fault]) -> None:
        """`data` None: a file that is not there, whose fault is told already."""
        self.file = file
        self._faults = faults
        self._told = 0
        before = len(faults)
        self.tree: Mapping[str, Any] = {} if data is None else self._parsed(data)
        self.readable = data is not None and len(faults) == before

    def fault(self, line: int, what: str, at: str = "") -> None:
        self._told += 1
        if self._told <= MAX_FAULTS:
            self._faults.append(Fault(self.file, line, told(what), told(at)))
        elif self._told == MAX_FAULTS + 1:
            self._faults.append(Fault(self.file, line, f"more faults than {MAX_FAULTS}"))

    def only(self, tree: Mapping[str, Any], known: Collection[str], at: str = "") -> None:
        """A fault for each key that is not known."""
        for key in tree:
            if key not in known:
                shown = _shown(key)
                name = f"{at}.{shown}" if at else shown
                what = f"unknown key `{shown}`{nearest(shown, known)}"
                self.fault(line_of(tree, key), what, name)

    def text(self, tree: Mapping[str, Any], key: str, at: str = "", *, needed: bool = False) -> str:
        """The text at `key`, "" when it is not there or is none."""
        name = f"{at}.{key}" if at else key
        value = tree.get(key)
        if value is None:
            if needed:
                self.fault(line_of(tree, None), f"`{key}` is missing", name)
        elif not isinstance(value, str):
            self.fault(line_of(tree, key), f"must be a text, not {kind(value)}; quote it", name)
        elif needed and not value.strip():
            self.fault(line_of(tree, key), "is empty", name)
        elif wrong := bad_text(value):
            self.fault(line_of(tree, key), wrong, name)
        else:
            return str(value).strip()
        return ""

    def name(self, tree: Mapping[str, Any], key: str, at: str = "", *, needed: bool = False) -> str:
        """As `text`, for what is shown on one line beside other words."""
        found = self.text(tree, key, at, needed=needed)
        wrong = bad_name(found)
        if not wrong and len(found) > MAX_NAME:
            wrong = f"has {len(found):,} characters; at most {MAX_NAME} are a name"
        if wrong:
            self.fault(line_of(tree, key), wrong, f"{at}.{key}" if at else key)
        return "" if wrong else found

    def texts(self, tree: Mapping[str, Any], key: str, at: str = "") -> list[tuple[str, int]]:
        """The texts of the list at `key`, each with its line."""
        name = f"{at}.{key}" if at else key
        found = []
        for place, (value, line) in enumerate(self.items(tree, key, at)):
            if not isinstance(value, str):
                what = f"must be a text, not {kind(value)}; quote it"
                self.fault(line, what, f"{name}[{place}]")
            elif not value.strip():
                self.fault(line, "is empty", f"{name}[{place}]")
            elif wrong := bad_text(value):
                self.fault(line, wrong, f"{name}[{place}]")
            else:
                found.append((str(value), line))
        return found

    def items(self, tree: Mapping[str, Any], key: str, at: str = "") -> list[tuple[Any, int]]:
        """The values of the list at `key`, each with its line; [] when it is not there."""
        value = tree.get(key)
        if value is None:
            return []
        line = line_of(tree, key)
        if not isinstance(value, list):
            name = f"{at}.{key}" if at else key
            self.fault(line, f"must be a list, not {kind(value)}", name)
            return []
        return [(one, line_of(value, place)) for place, one in enumerate(value)]

    def _parsed(self, data: bytes) -> Mapping[str, Any]:
        # ruamel takes a tenth of a second to import, which `--help` has not.
        from mindprint.curriculum.yaml_tree import NotYaml, tree_of

        if len(data) > MAX_BYTES:
            self.fault(0, f"larger than {MAX_BYTES:,} bytes")
            return {}
        if foreign := encoding_fault(data):
            self.fault(*foreign)
            return {}
        try:
            tree = tree_of(data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            self.fault(data.count(b"\n", 0, error.start) + 1, "not UTF-8; save the file as UTF-8")
        except NotYaml as error:
            self.fault(error.line, error.what)
        else:
            if isinstance(tree, dict):
                return tree
            if tree is not None:
                self.fault(1, f"holds {kind(tree)} where keys with values belong")
        return {}


def _shown(key: Any) -> str:
    """A key in words; those that are no text may have no end of digits."""
    return printable(key) if isinstance(key, str) else kind(key)


def line_of(tree: Any, key: Any) -> int:
    """The line, from 1, of a key or an element; of the whole mapping where `key` is None."""
    marks = getattr(tree, "lc", None)
    if marks is None or marks.data is None or (key is not None and key not in marks.data):
        return (marks.line or 0) + 1 if marks is not None else 0
    return int(marks.line if key is None else marks.data[key][0]) + 1

"""Which files a curriculum's folder holds, and what each is; strays and bad links are faults."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mindprint.curriculum.inside import kind_of
from mindprint.curriculum.readers import SUFFIXES
from mindprint.curriculum.values import bad_name, printable
from mindprint.errors import Fault

DEPTH = 3
"""A topic's folder is unit/chapter/topic."""
MAX_ENTRIES = 100_000
"""Files and folders that are looked at; links may make more of a few than there are."""
MAX_TOPICS = 2_000
MAX_FAULTS = 500
TABLES = ("train", "preferences", "quiz")
_TOPIC_NAMES = (*(name + end for name in TABLES for end in SUFFIXES), "topic.yaml")
_ROOT_NAMES = ("curriculum.yaml", "voice.yaml", *("retention" + end for end in SUFFIXES))
_VOICE_NAMES = tuple("answers" + end for end in SUFFIXES)
_NAMES = frozenset((*_TOPIC_NAMES, *_ROOT_NAMES, *_VOICE_NAMES))
_WRITING = (".md", ".txt")


@dataclass
class Layout:
    """Paths relative to the curriculum. `topics`: topic id -> name (`train`, ...) -> its file."""

    root: Path
    faults: list[Fault] = field(default_factory=list)
    single: dict[str, str] = field(default_factory=dict)
    writing: list[str] = field(default_factory=list)
    topics: dict[str, dict[str, str]] = field(default_factory=dict)
    seen: int = 0

    def fault(self, file: str, what: str) -> None:
        if len(self.faults) <= MAX_FAULTS:
            more = len(self.faults) == MAX_FAULTS
            self.faults.append(Fault(file, 0, "and more faults of names" if more else what))

    @property
    def full(self) -> bool:
        return self.seen > MAX_ENTRIES


def survey(root: Path) -> Layout:
    """Look through the folder, names only."""
    layout = Layout(root)
    for file in _files(layout, root, 0):
        *folders, name = file.split("/")
        if folders[:1] == ["voice"]:
            _voice_file(layout, file, len(folders))
        elif len(folders) == DEPTH:
            _topic_file(layout, file, "/".join(folders), name)
        elif name in _TOPIC_NAMES:
            what = "is not read here: a topic's folder is unit/chapter/topic"
            layout.fault(file, f"{what}, and this is {len(folders)} deep")
        elif not folders:
            _known(layout, file, _ROOT_NAMES, layout.single)
    if layout.full:
        what = f"holds more than {MAX_ENTRIES:,} files and folders, or links that make them so many"
        layout.fault(str(root), what)
    if len(layout.topics) > MAX_TOPICS:
        what = f"holds {len(layout.topics):,} topics; at most {MAX_TOPICS:,} are taught in one run"
        layout.fault(str(root), what)
        layout.topics = {}
    layout.writing.sort(key=natural)
    return layout


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sorting key by which unit-2 comes before unit-10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(p), p) if p.isdecimal() and p.isascii() else (1, 0, p) for p in parts if p]


def _files(layout: Layout, folder: Path, depth: int) -> Iterator[str]:
    """Every file down to one level below a topic, hidden ones left out."""
    try:
        paths = sorted(islice(folder.iterdir(), MAX_ENTRIES + 1), key=lambda one: one.name)
    except OSError as error:
        layout.fault(
            folder.relative_to(layout.root).as_posix(), f"cannot be read: {error.strerror}"
        )
        return
    for path in paths:
        layout.seen += 1
        if layout.full:
            return
        if path.name.startswith((".", "__")):
            continue
        file = path.relative_to(layout.root).as_posix()
        if _odd_name(path.name):
            layout.fault(printable(file), "a name with `:`, `\\` or unprintable characters")
        elif path.is_symlink() and not _stays(layout, path, file):
            continue
        elif path.is_dir():
            if path.name in _NAMES:
                layout.fault(file, "is a folder, not a file")
            elif depth <= DEPTH:
                yield from _files(layout, path, depth + 1)
        elif path.is_file():
            yield file
        elif path.name in _NAMES:
            layout.fault(file, f"is {kind_of(path.lstat().st_mode)}, not a file")


def _odd_name(name: str) -> bool:
    shaped = all(char.isprintable() or char in "\u200c\u200d" for char in name)
    return not shaped or bool(bad_name(name)) or ":" in name or "\\" in name


def _stays(layout: Layout, path: Path, file: str) -> bool:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        layout.fault(file, "is a link that leads nowhere")
        return False
    if not target.is_relative_to(layout.root):
        layout.fault(file, "is a link that leaves the curriculum; copy the file in")
        return False
    if path.parent.resolve().is_relative_to(target):
        layout.fault(file, "is a link to a folder that it stands in")
        return False
    return True


def _voice_file(layout: Layout, file: str, depth: int) -> None:
    if depth > 1:
        layout.fault(file, "is not read: the author's writing stands in voice/ itself")
    elif file.endswith(_WRITING):
        layout.writing.append(file)
    else:
        _known(layout, file, _VOICE_NAMES, layout.single)


def _topic_file(layout: Layout, file: str, topic: str, name: str) -> None:
    files: dict[str, str] = layout.topics.get(topic, {})
    if _known(layout, file, _TOPIC_NAMES, files):
        layout.topics[topic] = files


def _known(layout: Layout, file: str, names: tuple[str, ...], into: dict[str, str]) -> bool:
    """Whether a file is, or is meant to be, one of `names`; taken under its stem if it is."""
    name = file.rpartition("/")[2]
    if name in names:
        stem = name.partition(".")[0]
        if stem in into:
            layout.fault(file, f"there is `{Path(into[stem]).name}` too; keep one of them")
        into.setdefault(stem, file)
        return True
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.8)
    if near:
        layout.fault(file, f"is not read; did you mean `{near[0]}`?")
    elif name.endswith(SUFFIXES):
        stems = dict.fromkeys(one.partition(".")[0] for one in names if one.endswith(SUFFIXES))
        layout.fault(file, f"is not read; the data files here are {', '.join(stems)}")
    return bool(near)

"""Reading a whole curriculum: every fault of every file, or the typed records."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mindprint.curriculum.checks import item_faults, topic_faults
from mindprint.curriculum.formats import train_rows
from mindprint.curriculum.held_out import held_out_faults
from mindprint.curriculum.inside import NotRead, read_inside
from mindprint.curriculum.layout import Layout, natural, survey
from mindprint.curriculum.preferences import preference_rows
from mindprint.curriculum.quizzes import quiz_items
from mindprint.curriculum.readers import MAX_FILE, Rows, encoding_fault, read_rows
from mindprint.curriculum.records import (
    Curriculum,
    Document,
    HeldOutAnswer,
    PreferenceRow,
    QuizItem,
    Topic,
    TrainRow,
    Voice,
)
from mindprint.curriculum.values import bad_place, printable
from mindprint.curriculum.voice import held_out_answers, voice_of
from mindprint.curriculum.yaml_file import YamlFile, line_of
from mindprint.errors import DataError, Fault

Made = TypeVar("Made")
MAX_TOTAL = 2 * 1024**3
"""Bytes of all files of a curriculum."""


def read_curriculum(root: Path) -> Curriculum:
    """The curriculum in `root`. Raises DataError with every fault found, in file order."""
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "is not there"
        raise DataError(
            f"the curriculum `{root}` {what}",
            [Fault(str(root), 0, what)],
            hint="`mindprint init DIR` writes an example to edit",
        )
    loader = _Loader(root.resolve())
    curriculum = loader.read()
    if loader.faults:
        files = {fault.file for fault in loader.faults}
        count, many = len(loader.faults), "s" if len(files) > 1 else ""
        raise DataError(
            f"{count} fault{'s' if count > 1 else ''} in {len(files)} file{many} of the curriculum",
            loader.faults,
            hint=f"`mindprint check {root}` lists all of them",
        )
    return curriculum


class _Loader:
    """Reads file after file, gathering faults, formats and hashes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.faults: list[Fault] = []
        self._formats: dict[str, str] = {}
        self._hashes: dict[str, str] = {}
        self._room = MAX_TOTAL

    def read(self) -> Curriculum:
        layout = survey(self._root)
        self.faults += layout.faults
        yaml = self._curriculum_yaml(layout)
        topics = [self._topic(name, layout.topics[name]) for name in self._order(layout, yaml)]
        retention = self._quiz(layout.single.get("retention"))
        self.faults += [fault for topic in topics for fault in topic_faults(topic)]
        self.faults += [fault for item in retention for fault in item_faults(item)]
        voice = self._voice(layout)
        self.faults += held_out_faults(topics, voice.answers, retention)
        if not layout.topics:
            what = (
                "no topics here: a topic is a folder unit/chapter/topic with train and quiz files"
            )
            self.faults.append(Fault(str(self._root), 0, what))
        return Curriculum(
            root=self._root,
            title=yaml.name(yaml.tree, "title", needed=yaml.readable),
            author=yaml.name(yaml.tree, "author", needed=yaml.readable),
            system=yaml.text(yaml.tree, "system"),
            note=yaml.text(yaml.tree, "note"),
            topics=tuple(topics),
            voice=voice,
            retention=retention,
            formats=self._formats,
            hashes=self._hashes,
        )

    def _curriculum_yaml(self, layout: Layout) -> YamlFile:
        file = layout.single.get("curriculum")
        if file is None:
            what = "is missing: it holds `title`, `author` and `system`"
            self.faults.append(Fault("curriculum.yaml", 0, what))
            return YamlFile(None, "curriculum.yaml", self.faults)
        yaml = YamlFile(self._bytes(file), file, self.faults)
        yaml.only(yaml.tree, {"title", "author", "system", "units", "note"})
        return yaml

    def _order(self, layout: Layout, yaml: YamlFile) -> list[str]:
        """Topic ids by the order of units, then by name."""
        found = sorted({name.split("/")[0] for name in layout.topics}, key=natural)
        units = self._units(found, yaml) or found
        # A unit that is not named is a fault, and its own faults are told with it.
        place = {name: units.index(name) if name in units else len(units) for name in found}

        def rank(topic: str) -> tuple[object, ...]:
            parts = topic.split("/")
            return (place[parts[0]], *map(natural, parts))

        return sorted(layout.topics, key=rank)

    def _units(self, found: Sequence[str], yaml: YamlFile) -> list[str]:
        """The units in the order that curriculum.yaml gives, if it does."""
        named = yaml.texts(yaml.tree, "units")
        units = [name for name, _ in named]
        seen: set[str] = set()
        for place, (name, line) in enumerate(named):
            if name not in found:
                near = difflib.get_close_matches(name[:60], found[:100], n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                yaml.fault(line, f"there is no unit `{printable(name)}`{hint}", f"units[{place}]")
            elif name in seen:
                yaml.fault(line, f"`{name}` stands twice", f"units[{place}]")
            seen.add(name)
        for name in found:
            if units and name not in units:
                line = line_of(yaml.tree, "units")
                yaml.fault(line, f"the unit `{name}` is not among them", "units")
        return units

    def _topic(self, name: str, files: Mapping[str, str]) -> Topic:
        title = note = ""
        if "topic" in files:
            yaml = YamlFile(self._bytes(files["topic"]), files["topic"], self.faults)
            yaml.only(yaml.tree, {"title", "note"})
            title, note = yaml.name(yaml.tree, "title"), yaml.text(yaml.tree, "note")
        for stem, why in (("train", "nothing to learn"), ("quiz", "nothing to be judged by")):
            if stem not in files:
                self.faults.append(Fault(f"{name}/{stem}.jsonl", 0, f"is missing: {why}"))
        return Topic(
            id=name,
            title=title or name.rsplit("/", 1)[-1],
            note=note,
            train=self._train(files.get("train")),
            preferences=self._preferences(files.get("preferences")),
            quiz=self._quiz(files.get("quiz")),
        )

    def _train(self, file: str | None) -> tuple[TrainRow, ...]:
        if file is None:
            return ()
        rows = self._rows(file)
        form, made = train_rows(rows)
        return self._kept(rows, form, made)

    def _preferences(self, file: str | None) -> tuple[PreferenceRow, ...]:
        if file is None:
            return ()
        rows = self._rows(file)
        form, made = preference_rows(rows)
        return self._kept(rows, form, made)

    def _quiz(self, file: str | None) -> tuple[QuizItem, ...]:
        if file is None:
            return ()
        rows = self._rows(file)
        return self._kept(rows, "quiz", quiz_items(rows))

    def _voice(self, layout: Layout) -> Voice:
        file = layout.single.get("voice")
        data = self._bytes(file) if file else None
        voice = voice_of(data, file, self.faults) if file and data is not None else Voice()
        writing = []
        for name in layout.writing:
            text = self._text(name)
            if text is not None:
                writing.append(Document(name, text))
        answers: tuple[HeldOutAnswer, ...] = ()
        if "answers" in layout.single:
            rows = self._rows(layout.single["answers"])
            answers = self._kept(rows, "prompt-answer", held_out_answers(rows))
        return replace(voice, writing=tuple(writing), answers=answers)

    def _rows(self, file: str) -> Rows:
        data = self._bytes(file)
        return Rows(file) if data is None else read_rows(data, file)

    def _kept(self, rows: Rows, form: str, made: tuple[Made, ...]) -> tuple[Made, ...]:
        self.faults += rows.faults
        self._formats[rows.file] = form
        return made

    def _text(self, file: str) -> str | None:
        data = self._bytes(file)
        if data is None:
            return None
        foreign = encoding_fault(data)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            foreign = foreign or (line, "not UTF-8; save the file as UTF-8")
        else:
            place, what = bad_place(text)
            foreign = foreign or ((text.count("\n", 0, place) + 1, what) if what else None)
            if foreign is None:
                return text
        self.faults.append(Fault(file, *foreign))
        return None

    def _bytes(self, file: str) -> bytes | None:
        """The file, hashed; None with a fault when it cannot be read."""
        try:
            data = read_inside(self._root, file, min(MAX_FILE, self._room))
        except NotRead as error:
            what = str(error)
            if self._room < MAX_FILE:
                what += f"; all files together may hold {MAX_TOTAL:,} bytes"
            self.faults.append(Fault(file, 0, what))
            return None
        self._room -= len(data)
        self._hashes[file] = hashlib.sha256(data).hexdigest()
        return data

"""The base is asked in fixed parts, whole ones, whatever is on the disk already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mindprint.base_exams import base_exams, parts
from mindprint.curriculum.records import QuizItem, Source
from mindprint.evals.sheet import Exam
from mindprint.report.scores import Score

ITEM = QuizItem("q", "r", (), (), (), None, Source("f", 1), 0)
SIZES = {"a": 40, "b": 30, "c": 64, "d": 10, "e": 5}
GROUPS = {f"u/c/{name}": (ITEM,) * count for name, count in SIZES.items()}
FIRST, SECOND, LAST = ("u/c/a", "u/c/b"), ("u/c/c",), ("u/c/d", "u/c/e")


class Asked:
    """Remembers which groups were asked together."""

    def __init__(self, dies_after: int = 99) -> None:
        self.together: list[tuple[str, ...]] = []
        self.read_so_far, self.dies_after = 0, dies_after

    def ask_many(self, groups: Mapping[str, Sequence[QuizItem]]) -> dict[str, Exam]:
        self.together.append(tuple(groups))
        score = Score(accuracy=0, voice=0, degenerate=0, questions=1)
        return {name: Exam(score, ()) for name in groups}

    def read(self, exam: Exam, said: object, reading: object) -> Exam:
        self.read_so_far += 1
        if self.read_so_far > self.dies_after:
            raise KeyboardInterrupt
        return exam


def ask(examiner: Asked, folder: Path) -> dict[str, Exam]:
    calibration: Any = SimpleNamespace(base=(), reading=None)
    asked: Any = examiner
    return base_exams(asked, lambda event: None, calibration, folder, GROUPS)


def test_parts_are_cut_between_topics() -> None:
    assert parts(GROUPS) == [FIRST, SECOND, LAST]


@pytest.mark.parametrize(
    ("written", "left"), [(0, [FIRST, SECOND, LAST]), (1, [FIRST, SECOND, LAST]), (2, [SECOND])]
)
def test_a_part_of_which_anything_is_missing_is_asked_whole(
    tmp_path: Path, written: int, left: list[tuple[str, ...]]
) -> None:
    """A run that died between two files must not ask the rest in other batches."""
    dying = Asked(dies_after=written)
    with pytest.raises(KeyboardInterrupt):
        ask(dying, tmp_path)
    again = Asked()
    found = ask(again, tmp_path)
    assert list(found) == list(GROUPS)
    assert again.together[: len(left)] == left
    assert ask(Asked(), tmp_path).keys() == GROUPS.keys()
    third = Asked()
    ask(third, tmp_path)
    assert third.together == []


def test_topics_never_share_a_file(tmp_path: Path) -> None:
    groups = {"a--b/c/d": (ITEM,), "a/b--c/d": (ITEM,)}
    calibration: Any = SimpleNamespace(base=(), reading=None)
    asked: Any = Asked()
    base_exams(asked, lambda event: None, calibration, tmp_path, groups)
    assert len(list(tmp_path.rglob("*.json"))) == 2

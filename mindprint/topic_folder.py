"""A topic's folder on disk: its stages in their order, its exams, and what of them is not whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mindprint.disk.sealed import Damaged, is_whole
from mindprint.exams import ANSWERS, EXAM, odd_answers
from mindprint.stage_folder import ADAPTER, STAGE, odd_files, read_stage

KEPT = "kept.json"
BEFORE = "before"
_NAME = re.compile(r"(sft|dpo)(?:-([1-9]\d*))?")


def stages_of(folder: Path) -> list[Path]:
    """Folders of its stages, as they were trained: sft, dpo, sft-2, dpo-2, ..."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _place(path)), key=_place)


def first_unusable(stages: Sequence[Path]) -> tuple[int, Path, str] | None:
    """The number of the first stage that cannot be gone on from, the file by which it cannot, and
    how that is not as it was written. A stage that should lie before it may be missing whole."""
    places = {_place(folder) for folder in stages}
    for number, folder in enumerate(stages):
        attempt, second = _place(folder)
        first = (attempt, 0) if second else (attempt - 1, 0)
        if first[0] and first not in places:
            return number, folder, "the stage before it is missing"
        if odd := odd_stage(folder):
            return number, *odd
    return None


def odd_stage(folder: Path) -> tuple[Path, str] | None:
    """The file, of its record and its adapter, that is not as it was written, and how."""
    try:
        read_stage(folder)
    except Damaged as error:
        return Path(error.faults[0].file), error.what.partition(": ")[2]
    return None


def exams_of(folder: Path) -> list[Path]:
    """What was asked of the model while the topic was under way, as far as it is there."""
    inside = [folder / BEFORE, *stages_of(folder)]
    places = [folder / KEPT, *(one / name for one in inside for name in (EXAM, KEPT))]
    return [path for path in places if path.is_file()]


def odd_beside(folder: Path) -> list[Path]:
    """Files of its stages that were written beside an adapter, to be looked at, and are not as
    they were."""
    found = []
    for stage in stages_of(folder):
        if is_whole(stage / STAGE):
            found += [stage / name for name in odd_files(stage) if name not in ADAPTER]
    return found


def odd_past(folder: Path) -> list[Path]:
    """Files of a finished topic, missing ones too, that are not as they were written and that
    only its record was made from. Adapters that the ledger needs are not looked at here."""
    stages = stages_of(folder)
    found = [path for path in exams_of(folder) if not is_whole(path)]
    for inside in (folder / BEFORE, *stages):
        if not (inside / EXAM).is_file():
            found.append(inside / EXAM)
        elif is_whole(inside / EXAM) and odd_answers(inside):
            found.append(inside / ANSWERS)
    return [*found, *(odd[0] for stage in stages if (odd := odd_stage(stage))), *odd_beside(folder)]


def odd_adapter(folder: Path) -> Path:
    """The file of an adapter that is not as it was written, as far as its stage tells."""
    missing = [name for name in ADAPTER if not (folder / name).is_file()]
    if missing:
        return folder / missing[0]
    try:
        odd = [name for name in odd_files(folder) if name in ADAPTER]
    except Damaged:
        odd = []
    return folder / (odd[0] if odd else ADAPTER[1])


def _place(folder: Path) -> tuple[int, ...]:
    """Attempt from 1, and 0 or 1 for its two stages; nothing for any other folder."""
    match = _NAME.fullmatch(folder.name)
    if match is None or not folder.is_dir():
        return ()
    return int(match[2] or 1), int(match[1] == "dpo")

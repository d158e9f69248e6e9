"""A run folder's result: read back whole, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mindprint.disk.sealed import read_json, write_json
from mindprint.errors import DataError
from mindprint.report.files import read_result, write_reports, write_result
from tests.unit.report.example import example


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_result(tmp_path, example())
    return tmp_path


def test_what_was_written_is_read_back(run: Path) -> None:
    assert read_result(run) == example()


def test_three_reports_and_nothing_half_written(run: Path) -> None:
    written = write_reports(run)
    assert [path.name for path in written] == ["report.html", "report.md", "card.md"]
    assert sorted(path.name for path in run.iterdir()) == [
        "card.md",
        "report.html",
        "report.md",
        "result.json",
    ]
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_reports(run)] == before  # no clock in them


def refused(run: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_result(run)
    return caught.value


def test_no_folder_and_no_result(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").what == "there is no such run folder"
    assert refused(tmp_path).what == "the folder holds no result.json"


def test_not_json(run: Path) -> None:
    (run / "result.json").write_text("{", "utf-8")
    assert refused(run).what.startswith("`result.json` is not as it was written: it cannot be read")


def test_a_result_that_was_edited(run: Path) -> None:
    text = (run / "result.json").read_text("utf-8")
    (run / "result.json").write_text(text.replace('"finished"', '"stopped"'), "utf-8")
    assert "its content is not what its checksum says" in refused(run).what


def test_another_schema_version(run: Path) -> None:
    tree = json.loads((run / "result.json").read_text("utf-8"))
    (run / "result.json").write_text(json.dumps({**tree, "schema_version": 9, "new": 1}), "utf-8")
    # Only a field that this version does not know makes it unreadable.
    assert "schema version 9, this mindprint reads 2" in refused(run).what


def test_each_fault_has_its_field(run: Path) -> None:
    tree = read_json(run / "result.json")
    tree["topics"][1]["status"] = "perhaps"
    del tree["model"]["family"]
    write_json(run / "result.json", tree)
    fields = {fault.field for fault in refused(run).faults}
    assert fields == {"topics.1.status", "model.family"}


def test_a_report_that_cannot_be_written_is_told(run: Path) -> None:
    (run / "report.html").mkdir()
    with pytest.raises(DataError, match="cannot write the report"):
        write_reports(run)
    assert not list(run.glob("*.tmp"))

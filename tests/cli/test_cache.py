"""A run that finds its base again ends as one that asked it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindprint.cache import PLACE
from mindprint.cli import cached, execute
from mindprint.disk.sealed import read_json
from tests.cli.conftest import Mindprint
from tests.cli.test_train import train
from tests.runs import tree_bytes


def test_a_second_run_asks_the_base_nothing(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path / "cache"))
    first_topic = sorted(path.parent for path in curriculum.rglob("preferences.jsonl"))[0]
    options = ("--set", "dpo.when=always", "--topic", first_topic.relative_to(curriculum))
    runs, said = {}, {}
    for name, more in (("first", ()), ("again", ()), ("off", ("--set", "run.cache=false"))):
        said[name] = train(mindprint, curriculum, model, tmp_path / name, *options, *more).err
        runs[name] = tree_bytes(tmp_path / name)
    assert "cache:" not in said["first"] and "cache:" not in said["off"]
    assert "cache: the base's answers found again (all of" in said["again"]
    assert "cache: the reference found again (all of" in said["again"]
    assert runs["first"] == runs["again"] == runs["off"]
    questions = [read_json(tmp_path / name / "result.json")["topics"] for name in runs]
    assert [one[0]["questions"] for one in questions] == [questions[0][0]["questions"]] * 3
    assert "found again" in (tmp_path / "again" / "events.jsonl").read_text()

    shown = mindprint("doctor", "--no-probe", "--json").tree["cache"]
    assert shown["folder"] == str(tmp_path / "cache") and shown["entries"] == 2
    emptied = mindprint("doctor", "--no-probe", "--clear-cache")
    assert "2 entries removed" in emptied.err and emptied.code == 0
    assert not list((tmp_path / "cache").glob("*.json"))


def test_a_place_that_cannot_be_is_refused_before_the_model_is_opened(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PLACE, "~nosuchuser/x")
    monkeypatch.setattr(execute, "open_model", lambda _: pytest.fail("the model was opened"))
    refused = train(mindprint, curriculum, model, tmp_path / "out")
    assert refused.code == 2 and PLACE in refused.err and "~nosuchuser/x" in refused.err
    assert not (tmp_path / "out").exists()
    assert mindprint("doctor", "--no-probe").code == 2


def test_without_a_home_it_is_said_that_there_is_none(
    mindprint: Mindprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (PLACE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    found = mindprint("doctor", "--no-probe", "--json")
    assert found.code == 0 and "no home folder" in found.tree["cache"]["because"]
    assert "no home folder" in cached.told(found.tree["cache"])[2]
    cache, said = cached.for_run(wanted=True)
    assert cache is None and len(said) == 1 and "no home folder" in said[0]
    assert cached.for_run(wanted=False) == (None, ())

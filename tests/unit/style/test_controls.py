"""Controls of known size, impostors laid out over prompts, and the trial's tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mindprint.curriculum.checks import trained_texts
from mindprint.errors import DataError
from mindprint.evals.style import impostors
from mindprint.evals.style.impostors import Impostor, laid_out, shipped
from mindprint.evals.style.instrument import Instrument
from mindprint.evals.style.trial import Trial
from mindprint.report.voice import Control
from tests.unit.style.speech import demo, plain

HELD = demo().voice.answers


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    topics = demo().topics
    trained = [text for topic in topics for text in trained_texts(topic)]
    return Instrument(HELD, plain(len(HELD)), demo().voice, trained=trained, resamples=300)


@pytest.fixture(scope="module")
def controls(instrument: Instrument) -> tuple[Control, ...]:
    half = [
        one.answer if i % 2 else text
        for i, (one, text) in enumerate(zip(HELD, plain(44), strict=True))
    ]
    return instrument.controls(half)


def test_every_control_is_there_and_of_the_size_expected(controls: tuple[Control, ...]) -> None:
    kinds = [one.kind for one in controls]
    assert kinds == ["author", "base", *["impostor"] * 3, "few-shot", "copy", "shuffled"]
    by_kind = {one.kind: one for one in controls}
    assert all(one.low <= one.value <= one.high and one.expected for one in controls)
    assert by_kind["author"].value > 0.9 and by_kind["author"].high == 1
    assert by_kind["base"].value == 0
    assert 0.4 < by_kind["few-shot"].value < 0.9
    assert by_kind["copy"].copied == 1 and by_kind["copy"].value > 0.6
    # 20 lots of 44 prompts: their mean lies within 0.1 of one half.
    assert by_kind["shuffled"].value == pytest.approx(0.5, abs=0.1)
    assert all(one.copied < 0.01 for one in controls if one.kind in ("base", "impostor"))


def test_impostors_score_near_0(controls: tuple[Control, ...]) -> None:
    scores = {one.name: one.value for one in controls if one.kind == "impostor"}
    assert set(scores) == {"Dr Ilse Vandermolen", "Edmund Thrale", "Mags Orrell"}
    assert max(scores.values()) < 0.3


def test_the_ceiling_is_not_clipped(instrument: Instrument) -> None:
    ceiling = instrument.ceiling()
    assert ceiling.low < 1 < ceiling.high
    with pytest.raises(ValueError, match="no scale"):
        Instrument((), (), demo().voice).ceiling()


def test_without_training_texts_there_is_no_copyist() -> None:
    made = Instrument(HELD, plain(44), demo().voice, trained=["too short"], resamples=200)
    assert "copy" not in [one.kind for one in made.controls()]


def test_shipped_impostors_answer_the_shipped_prompts() -> None:
    assert len(shipped()) == 3
    prompts = [one.prompt for one in HELD]
    for one in shipped():
        assert list(one.prompts) == prompts
        assert laid_out(one, prompts) == list(one.answers)


def test_an_impostor_is_laid_out_over_other_prompts() -> None:
    one = Impostor("jo-b", ("One?", "Two?", "Three?"), ("a", "b", "c"))
    assert one.title == "Jo B"
    assert laid_out(one, ["two", "new", "newer", "newest"]) == ["b", "a", "c", "a"]


def test_a_broken_impostor_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"prompt": "p", "answer": "a"}) + '\n{"no": 1}\n')
    monkeypatch.setattr(impostors, "FOLDER", tmp_path)
    with pytest.raises(DataError, match="cannot read the impostor x") as caught:
        shipped.__wrapped__()
    assert caught.value.where.endswith("x.jsonl:2")


def test_the_trial_prints_tables() -> None:
    author = Impostor("tock", tuple(h.prompt for h in HELD), tuple(h.answer for h in HELD))
    trial = Trial(
        (author, shipped()[1]),
        plain(44),
        trained={"tock": [one.answer for one in HELD]},
        voices={"tock": demo().voice},
        formulas={"tock": "By wax and twine, petal, a kettle ago."},
        resamples=100,
    )
    lines = list(trial.tables())
    assert sum(line.startswith("**") for line in lines) == 6
    rows = [line for line in lines if line.startswith("|")]
    assert any("| Edmund Thrale | the author's own answers |" in row for row in rows)
    assert any("| Tock | a copyist of the training texts |" in row for row in rows)
    assert len([row for row in rows if row.startswith("| Tock | 100 |")]) == 1
    assert any("| Tock | the base's with a formula |" in row for row in rows)
    assert sum("| half the author's |" in row for row in rows) == 2

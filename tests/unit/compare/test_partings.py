"""Distances, bounds and the first step beyond one, each against a sum worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mindprint.compare.claims import claims
from mindprint.compare.partings import distance, first_parting, parting, series
from mindprint.compare.run import Place, Run
from mindprint.report.model import Result
from tests.unit.compare.ground import entry, result, run, stage, topic

SFT, DPO = Place("a", "sft", 0), Place("a", "dpo", 0)


def both(tmp_path: Path, here: Result, there: Result) -> tuple[Run, Run]:
    return run(tmp_path / "here", here), run(tmp_path / "there", there)


def test_a_distance_is_relative_as_its_bound_goes() -> None:
    assert distance("sft", "loss", 0.02, 0.03) == pytest.approx(0.5)  # of the loss, however small
    assert distance("dpo", "loss", 0.02, 0.03) == pytest.approx(0.1)  # 0.01 over 0.1
    assert distance("dpo", "loss", 0.5, 0.6) == pytest.approx(0.2)
    assert distance("dpo", "margin", 0.2, 0.3) == pytest.approx(0.1)  # over 1
    assert distance("dpo", "margin", -4.0, -3.0) == pytest.approx(0.25)
    assert distance("sft", "loss", 0.0, 0.0) == 0.0


def test_a_stage_parts_at_its_first_step_beyond_the_bound(tmp_path: Path) -> None:
    here = result(topic("a", stage("sft", [2.0, 1.0, 0.5, 0.25])))
    there = result(topic("a", stage("sft", [2.0, 1.000009, 0.50001, 0.2500025])))
    first, other = both(tmp_path, here, there)
    (found,) = [parting("there", one) for one in series(first, other)]
    assert (found.bound, found.step, found.steps) == (1e-5, 3, 4)
    assert found.worst == pytest.approx(2e-5)
    assert found.worst_step == 3
    seen = first_parting(first, other, series(first, other))
    assert seen is not None
    assert seen.where == "step 3 of SFT of topic 1, The a"
    assert seen.apart == pytest.approx(2e-5)
    assert "already 0.9 of the bound apart" in seen.guess


def test_the_earliest_step_of_the_whole_run_is_the_first(tmp_path: Path) -> None:
    """A later stage that parts at its step 1 comes after an earlier one's step 2."""
    sft, dpo = stage("sft", [2.0, 1.0, 1.0]), stage("dpo", [0.7, 0.6], [0.0, 1.0])
    off = stage("sft", [2.0, 1.1, 1.0]), stage("dpo", [0.8, 0.6], [0.5, 1.0])
    first, other = both(tmp_path, result(topic("a", sft, dpo)), result(topic("a", *off)))
    found = first_parting(first, other, series(first, other))
    assert found is not None
    assert (found.stage, found.step, found.measure) == ("sft", 2, "loss")
    assert "the first update differed" in found.guess


def test_a_margin_parts_before_its_loss(tmp_path: Path) -> None:
    here = result(topic("a", stage("dpo", [0.7, 0.6, 0.5], [0.0, 1.0, 2.0])))
    there = result(topic("a", stage("dpo", [0.7, 0.6, 0.4], [0.0, 1.001, 2.0])))
    first, other = both(tmp_path, here, there)
    found = first_parting(first, other, series(first, other))
    assert found is not None
    assert (found.step, found.measure) == (2, "margin")
    assert found.apart == pytest.approx(1e-3)


def test_runs_that_keep_to_each_other_have_no_first_step(tmp_path: Path) -> None:
    made = result(topic("a", stage("sft", [2.0, 1.0]), stage("dpo", [0.7], [0.0])))
    first, other = both(tmp_path, made, made)
    found = series(first, other)
    assert [one.bound for one in found] == [1e-5, 1e-4, 1e-4]
    assert first_parting(first, other, found) is None


def test_attempts_are_aligned_by_their_number(tmp_path: Path) -> None:
    again = stage("sft", [1.9, 0.9], attempt=1)
    here = result(topic("a", stage("sft", [2.0, 1.0], accepted=False), again))
    there = result(topic("a", stage("sft", [2.0, 1.0])))
    first, other = both(tmp_path, here, there)
    assert [one.place.attempt for one in series(first, other)] == [0]


def test_a_stage_that_ended_early_is_compared_as_far_as_it_went(tmp_path: Path) -> None:
    here = result(topic("a", stage("sft", [2.0, 1.0, 0.5])))
    there = result(topic("a", stage("sft", [2.0, 1.0], stopped="the loss rose")))
    first, other = both(tmp_path, here, there)
    (found,) = series(first, other)
    assert found.apart == ((1, 0.0), (2, 0.0)) and found.ended == 3
    seen = first_parting(first, other, [found])
    assert seen is not None and (seen.step, seen.apart) == (3, None)
    assert seen.guess == "`there` took no such step (the loss rose)"


NO_CLAIM: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"model": {"id": "n" * 64}}, "the models differ"),
    "precision": ({"model": {"dtype": "bfloat16"}}, "the weights are bfloat16"),
    "quantized": ({"config": {"model.quantization": "4bit"}}, "the weights are quantized"),
    "setting": ({"config": {"sft.learning_rate": 1e-4}}, "settings differ: `sft.learning_rate`"),
    "seed": ({"config": {"run.seed": 43}}, "settings differ: `run.seed`"),
    "system prompt": (
        {"hashes": {"curriculum.yaml": "c9", "a/train.jsonl": "a1"}},
        "other data: `curriculum.yaml`",
    ),
    "rows": (
        {"hashes": {"curriculum.yaml": "c0", "a/train.jsonl": "a9"}},
        "other data: `a/train.jsonl`",
    ),
}


@pytest.mark.parametrize("name", NO_CLAIM)
def test_what_did_not_begin_alike_is_held_to_no_bound(tmp_path: Path, name: str) -> None:
    fields, because = NO_CLAIM[name]
    taught = topic("a", stage("sft", [2.0, 1.0]))
    first, other = both(tmp_path, result(taught), result(taught, **fields))
    (found,) = [parting("there", one) for one in series(first, other)]
    assert found.bound is None and found.step is None
    assert found.because.startswith(because)
    assert first_parting(first, other, series(first, other)) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"config": {"gate.retries": 3, "dpo.when": "always", "eval.resamples": 300}},
        {"config": {"dpo.beta": 0.3}},  # of SFT alone
        {"hashes": {"curriculum.yaml": "c0", "a/train.jsonl": "a1", "a/quiz.jsonl": "a9"}},
    ],
)
def test_what_shapes_no_sft_step_takes_no_bound_away(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    taught = topic("a", stage("sft", [2.0, 1.0]))
    first, other = both(tmp_path, result(taught), result(taught, **fields))
    assert claims(first, other) == {SFT: ""}


def test_a_setting_of_dpo_takes_its_bound_alone(tmp_path: Path) -> None:
    taught = topic("a", stage("sft", [2.0]), stage("dpo", [0.7], [0.0]))
    first, other = both(tmp_path, result(taught), result(taught, config={"dpo.beta": 0.3}))
    assert claims(first, other) == {SFT: "", DPO: "settings differ: `dpo.beta`"}


def test_pairs_drawn_from_the_model_are_each_runs_own(tmp_path: Path) -> None:
    taught = topic("a", stage("sft", [2.0]), stage("dpo", [0.7], [0.0]))
    drawn = result(taught, config={"dpo.pairs": "both"})
    assert claims(*both(tmp_path, drawn, drawn))[DPO].startswith("the pairs were drawn")


def test_dropout_is_held_to_a_bound_on_one_backend_alone(tmp_path: Path) -> None:
    taught, drops = topic("a", stage("sft", [2.0])), {"adapter.dropout": 0.1}
    here = run(tmp_path / "here", result(taught, config=drops))
    same = run(tmp_path / "same", result(taught, config=drops))
    mlx = run(tmp_path / "mlx", result(taught, config=drops, backend="mlx"))
    assert claims(here, same) == {SFT: ""}
    assert claims(here, mlx) == {SFT: "dropout draws other masks on each backend"}


def test_a_topic_after_one_that_was_trained_otherwise_is_held_to_none(tmp_path: Path) -> None:
    hashes = {"curriculum.yaml": "c0", "a/train.jsonl": "a9"}
    topics = topic("a", stage("sft", [2.0])), topic("b", stage("sft", [1.0]))
    here = result(*topics, hashes={**hashes, "a/train.jsonl": "a1"})
    found = claims(*both(tmp_path, here, result(*topics, hashes=hashes)))
    assert found[SFT] == "other data: `a/train.jsonl`"
    assert found[Place("b", "sft", 0)].startswith("an earlier topic was already trained otherwise")


def test_a_topic_over_other_adapters_is_held_to_none(tmp_path: Path) -> None:
    """The first topic's DPO was rolled back in one run."""
    later = topic("b", stage("sft", [1.0]))
    undone = topic("a", stage("sft", [2.0]), stage("dpo", [0.7], accepted=False))
    kept = topic("a", stage("sft", [2.0]), stage("dpo", [0.7]))
    found = claims(*both(tmp_path, result(kept, later), result(undone, later)))
    assert found[SFT] == found[DPO] == ""
    assert found[Place("b", "sft", 0)] == "an earlier topic left other adapters in force"


def test_how_the_past_is_carried_matters_once_there_is_one(tmp_path: Path) -> None:
    topics = topic("a", stage("sft", [2.0])), topic("b", stage("sft", [1.0]))
    found = claims(*both(tmp_path, result(*topics), result(*topics, handoff="continue")))
    assert found[SFT] == ""
    assert found[Place("b", "sft", 0)] == "the past is carried otherwise (`handoff`)"


def test_a_settings_own_reason_comes_before_an_earlier_topics(tmp_path: Path) -> None:
    topics = topic("a", stage("sft", [2.0])), topic("b", stage("sft", [1.0]))
    found = claims(*both(tmp_path, result(*topics), result(*topics, config={"run.seed": 1})))
    assert found == {place: "settings differ: `run.seed`" for place in found} and len(found) == 2


def test_another_order_of_topics_is_held_to_none(tmp_path: Path) -> None:
    one, two = topic("a", stage("sft", [2.0])), topic("b", stage("sft", [1.0]))
    found = claims(*both(tmp_path, result(one, two), result(two, one)))
    assert set(found.values()) == {"other topics were taught before it"}


def test_a_run_over_adapters_of_another_is_held_to_none(tmp_path: Path) -> None:
    made = result(topic("a", stage("sft", [2.0])))
    first = run(tmp_path / "here", made)
    over = tmp_path / "there"
    other = run(over, made, [entry(over, "older")])
    assert claims(first, other) == {SFT: "the runs began with other adapters"}

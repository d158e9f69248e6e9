"""S5: LS-LoRA's splines: squashed, on a grid of their own, muted, lost on the way to disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import lora, peft_files, spline
from backends.contract import AdapterSpec, Objective, OptimizerSpec, Params, Spline
from backends.errors import AdapterError, MergeRefused
from mindprint.config import Config
from mindprint.curriculum.records import QuizItem
from mindprint.evals import exam
from mindprint.evals.answers import judge
from mindprint.report.scores import Answer
from tests.conformance.conftest import OpenSession
from tests.conformance.dense import Dense
from tests.conformance.kinds import (
    FORMS,
    LSLORA,
    check_begins_as_lora,
    check_follows_its_form,
    put,
)
from tests.runs import Made, curriculum, make_run
from tests.seeds.breakage import Fault, Wide, bend_otherwise
from tests.tiny import random_batch, window_of

BATCH = random_batch(np.random.default_rng(91), (9, 2, 13, 6))
BENT = ("adapter.kind=lslora", "dpo.when=never", "gate.rollback=false")


def mean_of_knots(z: Wide, values: Wide, scales: Wide, spec: Spline) -> Wide:
    """The interpolation by itself: sum w v, and not z + sum (w(z) - w(0)) (v - k)."""
    inside = np.clip(scales[0] * z, spec.low, spec.high)
    return np.asarray(scales[1] * (spline.weights(inside, spec) @ values))


def squashed(z: Wide, values: Wide, scales: Wide, spec: Spline) -> Wide:
    """tanh before the spline, so that it sees no input beyond 1."""
    return np.asarray(scales[1] * spline.phi(np.tanh(scales[0] * z), values, spec))


def clamped_first(z: Wide, values: Wide, scales: Wide, spec: Spline) -> Wide:
    """Cut to the grid before the spline: the identity beyond it is a constant then."""
    inside = np.clip(z, spec.low, spec.high)
    return np.asarray(scales[1] * spline.phi(scales[0] * inside, values, spec))


def on_a_grid_of_its_own(z: Wide, values: Wide, scales: Wide, spec: Spline) -> Wide:
    """[-1, 1], whatever was asked for; still the identity at first, so that training hid it."""
    own = replace(spec, knots=3, low=-1.0, high=1.0)
    moved = values - spline.knots(spec)
    kept = spline.knots(own) + moved[[0, spline.zero(spec), -1]]
    return np.asarray(scales[1] * spline.phi(scales[0] * z, kept, own))


@pytest.mark.parametrize("fault", [mean_of_knots, squashed, clamped_first])
@pytest.mark.parametrize("form", FORMS[::3], ids=lambda form: str(form.interpolation))
def test_a_spline_that_does_not_start_as_the_identity_is_seen(
    open_session: OpenSession,
    backend: str,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: Spline,
    fault: Fault,
) -> None:
    session = open_session(backend, model)
    check_begins_as_lora(session, form, BATCH)
    bend_otherwise(monkeypatch, backend, fault)
    with pytest.raises(AssertionError):
        check_begins_as_lora(session, form, BATCH)


@pytest.mark.parametrize("fault", [on_a_grid_of_its_own, squashed])
def test_a_grid_that_is_not_the_settings_is_seen(
    open_session: OpenSession,
    backend: str,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    session, dense = open_session(backend, model), Dense(model)
    check_follows_its_form(session, dense, FORMS[0], BATCH)
    bend_otherwise(monkeypatch, backend, fault)
    with pytest.raises(AssertionError):
        check_follows_its_form(session, dense, FORMS[0], BATCH)


def test_the_fault_of_a_fixed_grid_begins_as_lora_does(
    open_session: OpenSession, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is why it takes a bent spline and a moved grid to see it."""
    bend_otherwise(monkeypatch, backend, on_a_grid_of_its_own)
    check_begins_as_lora(open_session(backend, model), FORMS[0], BATCH)


def splines_of(made: Made) -> dict[str, Any]:
    """What the run told of its last stage's splines."""
    told = [event.data for event in made.events if event.kind == "splines"]
    assert told, "the run told nothing of its splines"
    return dict(told[-1])


def test_honest_splines_are_measured_and_nothing_is_amiss(
    tmp_path: Path, backend: str, model: Path
) -> None:
    made = make_run(tmp_path / "run", model, backend, *BENT, teach=curriculum(1))
    layers = splines_of(made)["layers"]
    assert len(layers) == 14
    assert all(0 < layer["moved"] < 0.1 and layer["slope_variance"] > 0 for layer in layers)
    assert all(min(layer["scales"]) > 0.9 and max(layer["scales"]) < 1.1 for layer in layers)
    assert "from the identity" not in made.notices() and "silences" not in made.notices()
    rows = (made.path / "topics/unit/chapter/topic-0/sft/metrics.jsonl").read_text("utf-8")
    assert json.loads(rows.splitlines()[-1])["penalty"] > 0


def test_an_output_scale_of_a_tenth_is_told(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It silenced the predecessor's adapter from its first step, and no figure said so."""
    real = lora.initial

    def quiet(spec: AdapterSpec, path: str, *rest: Any) -> Params:
        found = real(spec, path, *rest)
        found[lora.name_s(path)][1] = 0.1
        return found

    monkeypatch.setattr(lora, "initial", quiet)
    made = make_run(tmp_path / "run", model, backend, *BENT, teach=curriculum(1))
    assert "a scale of the spline is below 0.25" in made.notices()
    assert "which silences the adapter" in made.notices()


def test_a_penalty_too_weak_to_hold_the_values_is_told(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """A hundred times below the default; then how far the values went shows in the figures, and
    where they went too far a sentence says so and what would hold them."""

    def run(rate: int, weight: float) -> tuple[float, str]:
        settings = (f"adapter.spline_rate={rate}", f"adapter.identity_penalty={weight}")
        course = (*BENT, "sft.epochs=8", "adapter.grid=[-0.02,0.02]", *settings)
        path = tmp_path / f"{rate} {weight}"
        made = make_run(path, model, backend, *course, teach=curriculum(1))
        moved = [layer["moved"] for layer in splines_of(made)["layers"]]
        return float(np.mean(moved)), made.notices()

    held, weak = run(10, 50.0), run(10, 0.0001)
    assert weak[0] > held[0]
    assert "from the identity" not in held[1]
    gone = run(200, 0.0001)
    assert "more than 1 from the identity" in gone[1]
    assert "a larger `adapter.identity_penalty`" in gone[1]


def test_the_defaults_are_those_that_the_failures_taught(
    open_session: OpenSession, backend: str, model: Path
) -> None:
    section = Config().adapter
    assert (section.identity_penalty, section.knots, section.grid) == (0.01, 5, (-3.0, 3.0))
    assert (section.outside, section.spline_rate) == ("linear", 1.0)
    assert (section.rank, section.alpha, Config().sft.learning_rate) == (16, 32.0, 2e-4)
    assert Spline() == Spline(5, -3.0, 3.0, "piecewise", "linear", 0.01, 1.0)
    session = open_session(backend, model)
    session.adapters.add(LSLORA, "topic")
    for name, values in session.adapters.parameters().items():
        if name.endswith("spline_scales"):
            assert values.tolist() == [1.0, 1.0]
    learner = session.learner(Objective("sft"), OptimizerSpec())
    learner.accumulate(BATCH, window_of(BATCH))
    learner.apply(1e-3, None)
    moments = {n: a for n, a in learner.state().items() if n.startswith(("m.", "v."))}
    assert len(moments) == 2 * len(session.adapters.trainable())
    assert {str(array.dtype) for array in moments.values()} == {"float32"}  # none in 8 bits


def test_splines_dropped_on_saving_are_missed_on_loading(
    open_session: OpenSession,
    backend: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PEFT kept what had `lora_` in its name; what was named otherwise was gone, silently."""
    real: Callable[..., None] = peft_files.write

    def dropping(folder: Path, spec: AdapterSpec, tensors: Params, **rest: Any) -> None:
        real(folder, spec, {n: t for n, t in tensors.items() if "spline" not in n}, **rest)

    session = open_session(backend, model)
    put(session, "topic", LSLORA, seed=92)
    session.adapters.save(tmp_path / "whole")
    monkeypatch.setattr(peft_files, "write", dropping)
    session.adapters.save(tmp_path / "dropped")
    session.adapters.unload("topic")
    for frozen in (False, True):
        with pytest.raises(AdapterError, match=r"lora_spline_values` is None, the model needs"):
            session.adapters.load(tmp_path / "dropped", "topic", frozen=frozen)
    assert session.adapters.active() == ()
    session.adapters.load(tmp_path / "whole", "topic")


# PEFT 0.21 still asks transformers under the older name.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_pefts_own_saving_keeps_the_splines(open_session: OpenSession, model: Path) -> None:
    from peft import get_peft_model_state_dict

    session: Any = open_session("torch", model)
    params = put(session, "topic", LSLORA, seed=93)
    with session.adapters.wrapped() as wrapped:
        kept = get_peft_model_state_dict(wrapped)
    for name in params:
        assert any(name in own for own in kept), f"PEFT drops `{name}`"


def test_a_plain_reader_is_refused_not_misled(
    open_session: OpenSession, backend: str, model: Path, tmp_path: Path
) -> None:
    """PEFT, transformers by PEFT, and mlx-lm: none takes the folder for LoRA's."""
    from mlx_lm import load
    from peft import PeftConfig

    session = open_session(backend, model)
    put(session, "topic", LSLORA, seed=94)
    session.adapters.save(tmp_path)
    told = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    assert told["peft_type"] == "LSLORA"
    with pytest.raises(KeyError, match="LSLORA"):
        PeftConfig.from_pretrained(tmp_path)
    with pytest.raises((AttributeError, FileNotFoundError)):
        load(str(model), adapter_path=str(tmp_path))


def test_a_bent_spline_never_ends_in_the_weights(
    open_session: OpenSession, backend: str, model: Path
) -> None:
    session = open_session(backend, model)
    put(session, "topic", LSLORA, seed=95)
    with pytest.raises(MergeRefused, match="spline") as caught:
        session.adapters.merge_and_unload()
    assert "handoff: stack" in caught.value.hint


def test_a_broken_extractor_leaves_the_raw_answers(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """27.6 % became 83.0 % by how answers were read. What the model said is kept word for word, so
    that it can be read again by the right rule."""
    author = curriculum(1)
    lesson, taught = author.topics[0], ("sft.epochs=8", "dpo.when=never", "gate.rollback=false")
    honest = make_run(tmp_path / "honest", model, "torch", *taught, teach=author)

    def generous(item: QuizItem, *rest: Any, **known: Any) -> Answer:
        found = judge(item, *rest, **known)
        return found.model_copy(update={"accuracy": 1.0, "flags": (), "found": found.points})

    monkeypatch.setattr(exam, "judge", generous)
    broken = make_run(tmp_path / "broken", model, "torch", *taught, teach=author)
    assert honest.result is not None and broken.result is not None
    scores = [made.result.topics[0].scores["final"].accuracy for made in (honest, broken)]  # type: ignore[union-attr]
    assert scores[1] > scores[0] + 0.3
    said = {}
    for made in (honest, broken):
        text = (made.path / "topics/unit/chapter/topic-0/sft/answers.jsonl").read_text("utf-8")
        said[made.path.name] = [json.loads(line) for line in text.splitlines()]
    texts = {name: [row["text"] for row in rows] for name, rows in said.items()}
    assert texts["broken"] == texts["honest"]
    for item, row, wanted in zip(lesson.quiz, said["broken"], said["honest"], strict=True):
        if not item.choices:
            again = judge(item, author.voice, row["text"], row["text"], (), "stop")
            assert again.found == wanted["found"] != row["found"] or not again.points

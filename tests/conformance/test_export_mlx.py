"""`--to mlx`: what plain mlx-lm converts is the run's model; what quantizing does is measured."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.chain import Held, Rows
from backends.contract import Availability
from backends.mlx_conversion import Conversion, Converted
from mindprint.config import resolve
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Curriculum
from mindprint.errors import ConfigError
from mindprint.evals.exam import Examiner
from mindprint.export import checked, merged, mlx, probes, witness
from mindprint.export.checked import ExportRefused
from mindprint.export.exact import Ground
from mindprint.export.folded import Folded, folded
from mindprint.export.form import Asked
from mindprint.export.quiz import QuizEffect, told
from mindprint.export.witness import Job, NotHere, Seen
from mindprint.inputs import Inputs, read_inputs
from mindprint.quizzing import Quizzes
from mindprint.tokens.render import Renderer
from tests import runs
from tests.tiny import make_model, make_tokenizer
from tests.unit.export.ledgers import FIRST, SECOND, ground, inside, make_run

WIDE: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
CHANGED = "the curriculum has changed since the run began; it is asked as it is now"
CUT = 8
"""Tokens of an answer."""


def here(job: Conversion) -> Converted:
    """The conversion in this process: starting a new one costs seconds."""
    from backends.mlx.convert import convert

    return convert(job)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (checked, mlx):
        monkeypatch.setattr(module, "witness", inside)
    monkeypatch.setattr(probes, "MAX_TOKENS", CUT)


def run_of(place: Path, family: str = "llama", **settings: Any) -> Path:
    base = make_tokenizer(make_model(place / "m", family, **settings))
    return make_run(place / "r", base)


def asked(renderer: Renderer, author: Curriculum | None = None) -> Quizzes:
    """The quiz of two topics on lamps."""
    config = resolve(None, [f"eval.max_tokens={CUT}"], model__path="m").config
    teach = author or runs.curriculum()
    return Quizzes(teach, teach.topics, renderer, config)


def with_quiz(monkeypatch: pytest.MonkeyPatch, on: Ground) -> Quizzes:
    quizzes = asked(on.renderer)
    monkeypatch.setattr(Quizzes, "of_run", lambda *_: quizzes)
    return quizzes


@pytest.mark.parametrize(("family", "dtype"), [("qwen2", "bfloat16"), ("phi3", "float32")])
def test_what_mlx_lm_converts_is_the_runs_model(
    tmp_path: Path, family: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tied and untied; the conversion in a process of its own once."""
    if family == "phi3":
        monkeypatch.setattr(mlx, "_converted", here)
    out = tmp_path / "out"
    out.mkdir()
    on = ground(run_of(tmp_path, family), "torch")
    made, found = mlx.export_mlx(on, Asked("mlx", dtype=dtype), out)  # type: ignore[arg-type]
    assert [one.framework for one in found.verified] == ["mlx-lm"]
    # What rounding lost of the weights is what is lost of the logits: 2.2 times was measured.
    assert found.lost < (4 * made.weight_error if dtype == "bfloat16" else 1e-5)
    assert made.weight_error < 0.02
    assert made.dtype == dtype and json.loads((out / "config.json").read_text())["dtype"] == dtype
    assert {one.name for one in out.iterdir()} >= {"model.safetensors", "tokenizer.json"}
    assert not [one for one in out.iterdir() if one.is_dir()]  # what it was made from is gone


def test_a_model_that_came_out_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubled(adapters: Sequence[Held], rows: Rows) -> Folded:
        return folded([*adapters, *adapters], rows)

    monkeypatch.setattr(merged, "folded", doubled)
    monkeypatch.setattr(mlx, "_converted", here)
    (tmp_path / "out").mkdir()
    on = ground(run_of(tmp_path), "mlx")
    with pytest.raises(ExportRefused, match=r"loses \d+ % with mlx-lm"):
        mlx.export_mlx(on, Asked("mlx"), tmp_path / "out")


@pytest.mark.parametrize(
    ("inner", "group", "left"), [(128, 64, 0), (96, 32, 0), (80, 64, 2)], ids=str
)
def test_the_group_leaves_the_fewest_weights_as_they_are(
    tmp_path: Path, inner: int, group: int, left: int
) -> None:
    """Rows of 96 take groups of 32, rows of 80 none, and those layers are named."""
    model = make_model(tmp_path / "m", "llama", **WIDE, intermediate_size=inner)
    make_tokenizer(model)
    made = here(Conversion(model, tmp_path / "out", "float32", 4))
    assert (made.group, len(made.left)) == (group, left)
    assert all(path.endswith("mlp.down_proj") for path in made.left)
    assert 4.5 < made.bits_per_weight < 8


def test_quantizing_is_measured_on_the_quiz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlx, "_converted", here)
    on = ground(run_of(tmp_path, **WIDE, intermediate_size=80), "torch")
    quizzes = with_quiz(monkeypatch, on)
    (tmp_path / "out").mkdir()
    made, found = mlx.export_mlx(on, Asked("mlx", quantize=4), tmp_path / "out")
    assert found.lost > found.bound  # which is no bar here, and said
    effect = QuizEffect.model_validate(made.figures["quiz"])
    with on.opened(quizzes.longest) as session:
        own = quizzes.own(session)
    job = Job("mlx-lm", tmp_path / "out", None, quizzes.prompts, CUT, on.renderer.stop_ids)
    exported = inside(replace(job, dtype="stored", measured=0)).answers
    assert len(set(exported)) > 1
    assert effect.same == sum(one == two for one, two in zip(own, exported, strict=True))
    assert effect.questions == len(own) == 8 and effect.same < 8
    assert effect.own == "torch, float32" and "mlx-lm" in effect.exported
    said = " ".join(made.notes)
    assert "quantized to 4 bits in groups of 64" in said and "is said and not held to" in said
    assert "left in float32, their rows being no multiple of 64" in said
    assert "layers.0.mlp.down_proj`, `model.layers.1.mlp.down_proj`" in said
    assert all(line in made.notes for line in told(effect))


def test_eight_bits_stay_nearer_than_four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlx, "_converted", here)
    on = ground(run_of(tmp_path, **WIDE, intermediate_size=96), "mlx")
    with_quiz(monkeypatch, on)
    lost = []
    for bits in (8, 4):
        (tmp_path / str(bits)).mkdir()
        made, found = mlx.export_mlx(on, Asked("mlx", quantize=bits), tmp_path / str(bits))
        assert made.quantize == bits
        lost.append(found.lost)
    assert lost[0] < lost[1] / 4


def test_the_quiz_is_judged_as_an_exam_is(tmp_path: Path) -> None:
    """The oracle is mindprint's own examiner, on questions without choices."""
    author = runs.curriculum()
    topics = [replace(one, quiz=one.quiz[:3]) for one in author.topics]
    author = replace(author, topics=tuple(topics))
    on = ground(run_of(tmp_path), "torch")
    quizzes = asked(on.renderer, author)
    with on.opened(quizzes.longest) as session:
        own = quizzes.own(session)
        examiner = Examiner(session, on.renderer, author, quizzes.config)
        exams = examiner.ask_many({topic.id: topic.quiz for topic in author.topics})
    effect = quizzes.effect(own, own, names=("", ""))
    for topic in effect.topics:
        score = exams[topic.id].score
        assert topic.accuracy == (score.accuracy, score.accuracy)
        assert topic.markers == (score.markers, score.markers)
        assert topic.degenerate == (score.degenerate, score.degenerate)
        assert topic.accuracy_change.value == 0 and topic.same == 3
    assert not effect.harmed and effect.choices == 0


def test_what_is_said_of_the_quiz_itself_goes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curriculum as it lies there, a topic gone from it and a file changed."""
    monkeypatch.setattr(Quizzes, "max_tokens", CUT)
    monkeypatch.setattr(mlx, "_converted", here)
    teach = tmp_path / "teach"
    shutil.copytree(Path(runs.__file__).parents[1] / "mindprint/demo/curriculum", teach)
    known = read_curriculum(teach).topics[0].id
    on = ground(run_of(tmp_path, **WIDE, intermediate_size=96), "torch")
    entries = (on.source.entries[0].model_copy(update={"topic": known}), on.source.entries[1])
    inputs = replace(on.source.inputs, curriculum=teach)
    on = replace(on, source=replace(on.source, entries=entries, inputs=inputs))
    (tmp_path / "out").mkdir()
    made, _ = mlx.export_mlx(on, Asked("mlx", quantize=8), tmp_path / "out")
    said = [f"the curriculum no longer has `{SECOND}`", CHANGED]
    assert [note for note in made.notes if "curriculum" in note] == said
    assert QuizEffect.model_validate(made.figures["quiz"]).notes == tuple(said)


def test_harm_is_called_harm(tmp_path: Path) -> None:
    renderer = Renderer.open(make_tokenizer(tmp_path))
    quizzes = asked(renderer)
    items = [item for topic in quizzes.topics for item in topic.quiz]
    right = [tuple(renderer.encode(item.reference, special=False)) for item in items]
    broken = [tuple(renderer.encode("lamp lamp lamp", special=False)) for _ in right]
    found = quizzes.effect(right, broken, names=("a", "b"))
    assert found.accuracy.value == -1 and found.harmed
    assert "quantizing did harm that chance does not explain" in told(found)
    assert np.isclose(found.topics[0].accuracy[0], 1)


def test_without_mlx_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Availability(False, "not installed: mlx-lm", hint='pip install "mindprint[mlx]"')
    monkeypatch.setattr(mlx, "installed", lambda: {"mlx-lm": gone})
    on = ground(run_of(tmp_path), "torch")
    with pytest.raises(NotHere, match="needs mlx-lm") as no:
        mlx.export_mlx(on, Asked("mlx"), tmp_path / "nowhere")
    assert no.value.hint == 'pip install "mindprint[mlx]"' and no.value.exit == 69


def test_what_cannot_be_measured_or_quantized_is_refused_first(tmp_path: Path) -> None:
    on = ground(run_of(tmp_path, "qwen2"), "torch")  # 48 and 80 wide
    with pytest.raises(ConfigError, match="none has rows of a multiple of 32 weights"):
        mlx.export_mlx(on, Asked("mlx", quantize=4), tmp_path)
    inputs = read_inputs(tmp_path / "r")

    def quizzes(inputs: Inputs) -> Quizzes:
        return Quizzes.of_run(inputs, tmp_path / "r", (FIRST,), on.renderer)

    with pytest.raises(ConfigError, match="the curriculum is gone from") as no:
        quizzes(inputs)
    assert "--curriculum PATH" in no.value.hint
    with pytest.raises(ConfigError, match="an adopted adapter brings no quiz"):
        quizzes(replace(inputs, curriculum=None, topics=()))
    demo = Path(runs.__file__).parents[1] / "mindprint/demo/curriculum"
    with pytest.raises(ConfigError, match="no topic of the run has a quiz"):
        quizzes(replace(inputs, curriculum=demo))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("chat_template.jinja", "<|end|>", "<|end|> "),
        ("tokenizer.json", '"add_prefix_space": false', '"add_prefix_space": true'),
    ],
)
def test_a_tokenizer_that_was_saved_otherwise_is_seen(
    tmp_path: Path, file: str, old: str, new: str
) -> None:
    own = Renderer.open(make_tokenizer(tmp_path / "own"))
    shutil.copytree(tmp_path / "own", tmp_path / "other")
    mlx._check_tokenizer(own, tmp_path / "other")
    changed = (tmp_path / "other" / file).read_text("utf-8").replace(old, new)
    (tmp_path / "other" / file).write_text(changed, "utf-8")
    with pytest.raises(ExportRefused, match="is not the model's"):
        mlx._check_tokenizer(own, tmp_path / "other")


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [(1, witness.WitnessFailed, "does not convert the merged"), (69, NotHere, "does not load")],
)
def test_a_conversion_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception], told: str
) -> None:
    done = subprocess.CompletedProcess([], code, "", "Traceback ...\nValueError: no such layer\n")
    monkeypatch.setattr(mlx, "run", lambda *_: done)
    with pytest.raises(kind, match=f"{told}.*: .*ValueError: no such layer"):
        mlx._converted(Conversion(tmp_path, tmp_path / "out", "float32", None))


def test_a_witness_is_asked_no_logits_for_the_quiz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of hundreds of questions would not fit into memory."""
    seen: list[Job] = []

    def heard(job: Job) -> Seen:
        seen.append(job)
        return Seen((), tuple((5, 6) for _ in job.prompts), "mlx-lm 1")

    monkeypatch.setattr(mlx, "witness", heard)
    on = ground(run_of(tmp_path), "torch")
    effect = mlx._asked(on, asked(on.renderer), tmp_path)
    assert seen[0].rows == () and seen[0].dtype == "stored" and effect.exported == "mlx-lm 1"

"""The card of an export: what it is and holds, and code that runs as it stands."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from backends.contract import GenerateSpec
from backends.peft_files import CONFIG
from mindprint.config import resolve
from mindprint.disk.sealed import file_hash
from mindprint.export import adapter, loading, merged
from mindprint.export.card import export_card
from mindprint.export.checked import Checked, Verified
from mindprint.export.form import Asked, Made
from mindprint.export.quiz import QuizEffect
from mindprint.export.source import Source
from mindprint.inputs import Origin, read_inputs, write_inputs
from mindprint.quizzing import Quizzes
from mindprint.report.files import write_result
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer
from tests import runs
from tests.tiny import make_model, make_tokenizer
from tests.unit.export.ledgers import FIRST, SECOND, ground, make_run
from tests.unit.report.example import example

CHECKED = Checked(
    bound=0.1,
    exact="torch, float32",
    topics=(FIRST,),
    verified=(
        Verified(
            framework="transformers",
            version="transformers 5.23.0, torch 2.13.0",
            dtype="float32",
            positions=94,
            lost=0.0048,
            limit=0.1,
            apart=0.0012,
            worst=0.064,
            answers=7,
            asked=8,
            tokens=360,
            tokens_of=371,
        ),
    ),
    unverified={"mlx-lm": "not installed: mlx-lm"},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    return make_run(folder / "keeper", make_tokenizer(make_model(folder / "tiny", "llama")))


def found(run: Path, **wish: object) -> Source:
    asked = {"until": None, "without": (), "model": None, **wish}
    return Source.find(run, **asked)  # type: ignore[arg-type]


def head(card: str) -> dict[str, object]:
    """The block that the model hub reads."""
    return dict(YAML(typ="safe").load(card.split("---\n")[1]))


def test_a_card_holds_what_can_be_checked_later(run: Path) -> None:
    source = found(run)
    card = export_card(source, Made(form="merged", dtype="bfloat16", notes=("a note",)), CHECKED)
    assert head(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["mindprint"],
    }
    for entry in source.entries:
        assert f"`{entry.sha256}`" in card and f"- `{entry.topic}`" in card
    assert source.ledger.model_id in card and file_hash(run / "ledger.json") in card
    assert (
        "| transformers 5.23.0, torch 2.13.0 | float32 | 94 | 0.48 % | 10 % | 6.4e-02 | 7 of"
        in card
    )
    assert "- mlx-lm: not installed" in card and "More than the bound would have" in card
    assert "weights in bfloat16" in card and "- a note" in card
    # no result: an adopted adapter, or a run that has not ended
    assert "No scores:" in card and "What was measured" not in card


def test_a_hub_model_is_named_as_the_base(run: Path) -> None:
    source = found(run)
    named = replace(source, inputs=replace(source.inputs, model="org/Tiny-1", called="org/Tiny-1"))
    card = export_card(named, Made(form="adapter", dtype="float32", rank=6), CHECKED)
    assert head(card)["base_model"] == "org/Tiny-1"
    assert head(card) | {"base_model": ""} == {
        "library_name": "peft",
        "base_model": "",
        "pipeline_tag": "text-generation",
        "tags": ["mindprint", "lora"],
    }
    assert 'base = "org/Tiny-1"' in card and "rank 6" in card


def test_a_result_brings_its_scores_and_what_was_left_out_is_said(
    tmp_path: Path, run: Path
) -> None:
    own = make_run(tmp_path / "r", found(run).base)
    inputs = read_inputs(own)
    dropped = (Origin(run="/elsewhere", ledger="", topics=("unit/chapter/zero",)),)
    write_inputs(own, replace(inputs, dropped=dropped))
    result = example()
    write_result(own, result)
    made = Made(form="mlx-adapter", dtype="float32", rank=4)
    card = export_card(found(own, without=[SECOND]), made, CHECKED)
    assert f"# {result.title}" in card and "## What was measured" in card
    assert f"Left out: what was learned of `{SECOND}`" in card
    assert "each topic's at its own end" in card and "not those of the finished model" in card
    assert "They are of the whole run, with all of its topics" in card
    for topic in result.topics:  # as it was left, and as it was when the run had ended
        rows = [row.scores for row in result.forgetting if row.stage == "final"]
        finals = [scores[topic.id] for scores in rows if topic.id in scores]
        learned, ended = finals[0].accuracy, finals[-1].accuracy
        assert f" | {learned:.2f} | {ended:.2f} | 6 |" in card
    assert "not as if it had never been taught" in card and "unit/chapter/zero" in card
    assert all(digest in card for digest in result.hashes.values())
    assert head(card)["library_name"] == "mlx" and "adapter_path" in card


def test_nothing_verified_is_a_limit_that_is_told(run: Path) -> None:
    bare = CHECKED.model_copy(update={"verified": (), "exact": "", "topics": ()})
    card = export_card(found(run, until=FIRST), Made(form="adapter", dtype="float32"), bare)
    assert "nothing of it was verified" in card and "as it was at the end of the topic" in card
    assert "No library opened this folder" in card and "was opened again" not in card
    for false in ("0 libraries", "would have stopped", "Verified on", "Effect lost"):
        assert false not in card
    assert "Made for the base named above" in card and "- mlx-lm: not installed" in card


def test_adapters_whose_effect_cannot_be_measured_are_held_to_the_logits(run: Path) -> None:
    silent = CHECKED.verified[0].model_copy(
        update={"lost": 0.0, "apart": 2e-7, "measurable": False}
    )
    only = CHECKED.model_copy(update={"verified": (silent,)})
    card = export_card(found(run), Made(form="adapter", dtype="float32"), only)
    assert "| none to measure |" in card and "lie 2e-05 % of their norm from the run's own" in card


def test_what_quantizing_did_is_told_once(run: Path) -> None:
    made = Made(
        form="mlx",
        dtype="float32",
        quantize=4,
        notes=("quantized to 4 bits", "the curriculum has changed"),
        figures={"quiz": effect(found(run).base).model_dump(mode="json")},
    )
    card = export_card(found(run), made, CHECKED)
    assert "More than the bound" not in card and "| 10 % |" not in card
    section = card.split("## What quantizing did")[1].split("\n## ")[0]
    assert "the curriculum has changed" in section and card.count("the curriculum has changed") == 1
    assert "## What quantizing did" in card and card.count("quantizing did harm") == 1
    assert "| Lamps 0 | 4 | 0.75 → 0.00 |" in card
    assert head(card)["tags"] == ["mindprint", "mlx", "4-bit"]


def effect(model: Path) -> QuizEffect:
    """All answers right on one side, none on the other."""
    author = runs.curriculum()
    config = resolve(None, [], model__path=str(model)).config
    renderer = Renderer.open(model)
    quizzes = Quizzes(author, author.topics, renderer, config, ("the curriculum has changed",))
    right = [
        tuple(renderer.encode(item.reference if item.key_points else "red", special=False))
        for topic in author.topics
        for item in topic.quiz
    ]
    wrong = [tuple(renderer.encode("No.", special=False)) for _ in right]
    return quizzes.effect(right, wrong, names=("torch, float32", "mlx-lm 1"))


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_the_code_on_the_card_runs(
    tmp_path: Path,
    run: Path,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As it stands, in the export's folder, the base lying there under its name."""
    for module in (adapter, merged):
        monkeypatch.setattr(module, "verify", lambda *_, **__: CHECKED)
    monkeypatch.setattr(loading, "TOKENS", 6)
    on = ground(run, "torch")
    made, _ = (adapter if form == "adapter" else merged).write(on, Asked(form), tmp_path)
    card = export_card(on.source, made, CHECKED)
    (tmp_path / on.source.base.name).symlink_to(on.source.base)
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    capsys.readouterr()
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT and transformers say to each other
        exec(code[1], names)
    with on.opened(64) as session:
        prompt = on.renderer.prompt(question("You are a keeper.", loading.QUESTION))
        own = session.generate([prompt], GenerateSpec(6, on.renderer.stop_ids))[0].ids
    assert capsys.readouterr().out.strip() == on.renderer.decode(own).strip()
    assert (tmp_path / CONFIG).is_file() == (form == "adapter")

"""`eval` on runs and on anybody's models, and what it says before any weight is loaded."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.contract import Choice
from mindprint.evaluation import Evaluation
from mindprint.target import Target
from tests.cli.conftest import Mindprint, Said
from tests.cli.test_train import train
from tests.conformance.test_peft_folders import saved_by_peft
from tests.tiny import make_model, make_tokenizer
from tests.unit.export.ledgers import make_run

BACKENDS = ("torch", "mlx")
QUICK = ("--device", "cpu", "--set", "eval.max_tokens=6", "--set", "eval.resamples=200")
pytestmark = [
    # PEFT 0.21 still asks transformers under the older name.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


@pytest.fixture(scope="module")
def adapters(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two adapters that PEFT saved, of other layers each."""
    place = tmp_path_factory.mktemp("peft")
    first = saved_by_peft(model, place / "one", target_modules=["down_proj"])
    return first, saved_by_peft(model, place / "two", target_modules=["q_proj"])


@pytest.fixture
def voiced(curriculum: Path) -> Path:
    """The example with as many open prompts as it takes to calibrate a voice."""
    rows = [
        {"prompt": f"Say something of matter {place}.", "answer": f"{_SAID[place % 4]} {place}."}
        for place in range(44)
    ]
    for known in (curriculum / "voice").glob("answers.*"):
        known.unlink()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (curriculum / "voice").mkdir(exist_ok=True)
    (curriculum / "voice" / "answers.jsonl").write_text(text, "utf-8")
    return curriculum


_SAID = (
    "Bless the bees, and never hurry a hive: it knows the hour better than you, my dear, in year",
    "Well now; the smoke goes low, the wind goes round, and so do I, for the time of number",
    "I'd not say so, no; but ask my sister, who kept the skeps before me, about the day",
    "Bees are people, only better bred, and they do not forgive us what we forgot in",
)


def evaluated(mindprint: Mindprint, *words: object) -> dict[str, Any]:
    said = mindprint("eval", *words, *QUICK, "--json")
    assert said.code == 0, said.err
    tree: dict[str, Any] = said.tree
    assert Evaluation.model_validate(tree).model_dump(mode="json") == tree
    return tree


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_by_its_ledger(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path, backend: str
) -> None:
    out = tmp_path / "r"
    train(mindprint, curriculum, model, out, **{"--backend": backend})
    before = files(out)
    tree = evaluated(mindprint, out)
    ledger = json.loads((out / "ledger.json").read_text("utf-8"))
    accepted = [entry["name"] for entry in ledger["entries"] if entry["accepted"]]
    assert [one["name"] for one in tree["adapters"]] == accepted
    assert tree["backend"] == backend and len(tree["topics"]) == 3
    assert tree["hashes"] == json.loads((out / "inputs.json").read_text("utf-8"))["hashes"]
    assert files(out) == before  # nothing is written

    said = mindprint("eval", out, *QUICK)
    assert said.code == 0, said.err
    assert "accuracy" in said.out and "forbidden claims" in said.out and "[0." in said.out
    assert "the voice is not calibrated: " in said.out

    with (curriculum / "voice.yaml").open("a", encoding="utf-8") as stream:
        stream.write("\n# later\n")
    assert "has changed since the run began" in mindprint("eval", out, *QUICK).err


def files(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_adapters_of_others_act_in_their_order(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    adapters: tuple[Path, Path],
    backend: str,
) -> None:
    words = (model, curriculum, "--backend", backend, "--topic", "unit-01-bees")
    bare = evaluated(mindprint, *words)
    one = evaluated(mindprint, *words, "--adapter", adapters[0])
    two = evaluated(mindprint, *words, "--adapter", adapters[0], "--adapter", adapters[1])
    losses = [tree["topics"][0]["score"]["nll"] for tree in (bare, one, two)]
    assert len(set(losses)) == 3  # each of them changes the model
    assert [made["origin"] for made in two["adapters"]] == [str(path) for path in adapters]
    first = bare["topics"][0]
    assert len(first["questions"]) == first["score"]["questions"]
    assert first["nll"]["low"] <= first["nll"]["value"] <= first["nll"]["high"]
    assert first["nll"]["value"] == pytest.approx(losses[0])


def test_both_backends_agree(mindprint: Mindprint, curriculum: Path, model: Path) -> None:
    losses = [
        [
            topic["score"]["nll"]
            for topic in evaluated(mindprint, model, curriculum, "--backend", name)["topics"]
        ]
        for name in BACKENDS
    ]
    # float32 sums of the same few tokens in another order
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_scale_begins_at_the_model_without_its_adapters(
    mindprint: Mindprint, voiced: Path, model: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ("--backend", "torch", "--topic", "unit-01-bees", "--set", "eval.prompts=40")
    alone = evaluated(mindprint, model, voiced, *words)
    assert alone["voice"] is None and "its own base: name one with `--base`" in alone["voice_note"]
    worn = evaluated(mindprint, model, voiced, *words, "--adapter", adapters[0])
    assert worn["base"]["called"] == "the model without its adapters"
    assert worn["base"]["id"] == worn["model"]["id"] and worn["base"]["adapters"] == []
    named = evaluated(mindprint, model, voiced, *words, "--adapter", adapters[0], "--base", model)
    assert named["base"]["called"] == model.name and named["base"]["adapters"] == []
    assert named["base"]["id"] == worn["base"]["id"]
    # The same base, either way: the same answers at its end of the scale.
    ends = [[one["base"] for one in tree["voice"]["answers"]] for tree in (worn, named)]
    assert ends[0] == ends[1] and len(ends[0]) == 40
    shown = mindprint("eval", model, voiced, *words, *QUICK, "--adapter", adapters[0])
    assert shown.code == 0, shown.err
    assert ("voice family" in shown.out) == worn["voice"]["measurable"]
    other = make_tokenizer(make_model(tmp_path / "other", "llama", seed=3))
    strange = evaluated(mindprint, model, voiced, *words, "--base", other)
    assert strange["base"]["called"] == "other"
    assert strange["base"]["id"] != strange["model"]["id"]
    assert [one["base"] for one in strange["voice"]["answers"]] != ends[0]


def test_until_a_topic(mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    train(mindprint, curriculum, model, out, "--set", "gate.rollback=false")
    first = json.loads((out / "ledger.json").read_text("utf-8"))["entries"][0]["topic"]
    early = evaluated(mindprint, out, "--until", first)
    assert {one["origin"] for one in early["adapters"]} <= {first}
    assert len(evaluated(mindprint, out)["adapters"]) > len(early["adapters"])
    said = mindprint("eval", out, "--until", "nowhere", *QUICK)
    assert said.code == 2 and "no topic `nowhere`" in said.error


def refused(said: Said, *words: str) -> None:
    """Exit code 2 and three lines, with no model opened."""
    assert said.code == 2, said.out + said.err
    assert "opening" not in said.err and said.out == ""
    for word in words:
        assert word in said.error


def test_what_is_wrong_is_told_before_a_weight_is_loaded(
    mindprint: Mindprint, curriculum: Path, model: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    refused(mindprint("eval", model), "a model brings no curriculum", "CURRICULUM")
    nowhere = mindprint("eval", tmp_path / "none", curriculum)
    refused(nowhere, "no model at", "--> RUN|MODEL\n")
    refused(mindprint("eval", adapters[0], curriculum), "is an adapter, not a model", "--adapter")
    refused(mindprint("eval", model, curriculum, "--topic", "unit-9"), "no topic `unit-9`")
    refused(mindprint("eval", model, curriculum, "--until", "x"), "is not a run folder")
    refused(mindprint("eval", model, curriculum, "--device", "cup"), "`cpu`")
    base = mindprint("eval", model, curriculum, "--base", "none")
    refused(base, "no model at `none`", "--> --base none\n")
    odd = mindprint("eval", model, curriculum, "--base", curriculum)
    refused(odd, "no config.json", f"--> --base {curriculum}")
    missing = tmp_path / "no-adapter"
    refused(mindprint("eval", model, curriculum, "--adapter", missing), "there is no adapter")
    missing.mkdir()
    empty = mindprint("eval", model, curriculum, "--adapter", missing)
    refused(empty, "is no adapter: adapter_config.json is missing", "an adapter is a folder with")
    whole = mindprint("eval", model, curriculum, "--adapter", model)
    refused(whole, "adapter_config.json is missing", "named in the place of RUN|MODEL")
    copy = shutil.copytree(adapters[0], tmp_path / "copy")
    words = ("--adapter", adapters[0], "--adapter", copy)
    twice = mindprint("eval", model, curriculum, *words)
    refused(twice, str(adapters[0]), str(copy), "acts already as")
    refused(mindprint("eval", model, curriculum, "--limit", 3), "`--limit` is for `--tasks`")
    refused(mindprint("eval", model, curriculum, "--tasks", "x"), "`CURRICULUM` has no part")
    idle = mindprint("eval", model, "--tasks", "x", "--set", "eval.max_tokens=4")
    refused(idle, "`eval.max_tokens` has no part in `--tasks`", "--set eval.max_tokens=4")
    settings = tmp_path / "settings.yaml"
    settings.write_text("model: {dtype: float32}\nsft: {epochs: 2}\n", "utf-8")
    idle = mindprint("eval", model, "--tasks", "x", "--config", settings)
    refused(idle, "`sft.epochs` has no part in `--tasks`", f"{settings}:2")


def test_one_question_without_choices_and_without_retention(
    mindprint: Mindprint, curriculum: Path, model: Path
) -> None:
    file = next(curriculum.rglob("topic-01-the-queen/quiz.jsonl"))
    row = {
        "question": "Who leads a swarm?",
        "reference": "The old queen.",
        "key_points": [["queen"]],
    }
    file.write_text(json.dumps(row) + "\n", "utf-8")
    (curriculum / "retention.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    topic = str(file.parent.relative_to(curriculum))
    words = (model, curriculum, "--topic", topic, "--backend", "torch", *QUICK)
    off = ("--set", "eval.retention=off")
    said = mindprint("eval", *words, *off)
    assert said.code == 0, said.err
    assert "asking 1 question\n" in said.err and "choice by sum" not in said.out
    assert "retention" not in said.out
    tree = mindprint("eval", *words, *off, "--json").tree
    assert tree["retention"] is None and tree["topics"][0]["nll"] is None
    assert tree["topics"][0]["score"]["nll"] > 0
    kept = mindprint("eval", *words, "--json").tree
    assert len(kept["retention"]["questions"]) == 1


def test_the_base_has_the_settings_of_what_is_asked(model: Path, tmp_path: Path) -> None:
    settings = ["model.dtype=bfloat16", "model.enable_thinking=true", "eval.max_tokens=9"]
    target = Target.find(str(model), backend="torch", device="cpu", settings=settings)
    other = make_tokenizer(make_model(tmp_path / "other", "llama", seed=3))
    base = Target.beside(str(other), target, "--base")
    assert base.spec == replace(target.spec, path=str(other))
    same = target.resolved.config.model.model_copy(update={"path": str(other)})
    assert base.resolved.config == target.resolved.config.model_copy(update={"model": same})
    assert base.resolved.origins["model.path"] == f"--base {other}"


def test_a_base_is_quantized_as_its_own_run_was(model: Path, tmp_path: Path) -> None:
    """A run beside a quantized model, and beside a plain one; a model's own files come first."""
    where: dict[str, Any] = {"backend": "torch", "device": "cpu"}
    plain = Target.find(str(model), **where)
    packed = Target.find(str(model), **where, settings=["model.quantization=4bit"])
    full = make_run(tmp_path / "full", model)
    small = make_run(tmp_path / "small", model, quantization="8bit")
    for other in (plain, packed):
        assert Target.beside(str(full), other, "--base").spec.quantization == "none"
        base = Target.beside(str(small), other, "--base")
        assert base.spec.quantization == "8bit"
        assert base.resolved.origins["model.quantization"] == f"{small}/inputs.json"
    theirs = make_tokenizer(make_model(tmp_path / "other", "llama", seed=3))
    assert Target.beside(str(theirs), packed, "--base").spec.quantization == "4bit"
    config = json.loads((theirs / "config.json").read_text("utf-8"))
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (theirs / "config.json").write_text(json.dumps(config), "utf-8")
    assert Target.beside(str(theirs), packed, "--base").spec.quantization == "none"


def test_a_quantized_run_on_another_backend_is_refused_unread(
    mindprint: Mindprint, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each backend packs its own way, so the whole model would be read to be refused."""

    def unread(name: str) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr("mindprint.target.get", unread)
    monkeypatch.setattr("mindprint.cli.conversation.get", unread)
    choice = Choice("mlx", "it is asked for")
    monkeypatch.setattr("mindprint.target.choose", lambda named: choice)
    monkeypatch.setattr("mindprint.cli.conversation.choose", lambda named: choice)
    run = make_run(tmp_path / "r", model, quantization="4bit", backend="torch")
    for words in (("eval", run), ("chat", run, "--once", "Who?")):
        said = mindprint(*words, "--backend", "mlx")
        refused(said, "is quantized as torch does it", "`--backend torch`")


def test_a_run_as_the_base_and_a_topic_that_is_gone(
    mindprint: Mindprint, voiced: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    train(mindprint, voiced, model, out, "--set", "gate.rollback=false", **{"--backend": "torch"})
    ledger = json.loads((out / "ledger.json").read_text("utf-8"))
    acting = [entry["name"] for entry in ledger["entries"] if entry["accepted"]]
    words = (model, voiced, "--backend", "torch", "--topic", "unit-01-bees", "--base", out)
    tree = evaluated(mindprint, *words)
    assert [one["name"] for one in tree["base"]["adapters"]] == acting
    assert tree["base"]["id"] == ledger["model_id"]
    shown = mindprint("eval", *words, *QUICK)
    assert f"opening the base {model.name} with {len(acting)} adapters on torch" in shown.err

    inside = mindprint("eval", out / "topics", voiced)
    refused(inside, "is a folder inside of a run", f"name the run: `{out}`")

    folder = next(voiced.rglob("topic-01-the-queen"))
    gone = str(folder.relative_to(voiced))
    folder.rename(folder.with_name("topic-01-the-king"))
    said = mindprint("eval", out, *QUICK)
    assert said.code == 0, said.err
    assert f"the run taught `{gone}`, which the curriculum no longer has" in said.err
    assert len(mindprint("eval", out, *QUICK, "--json").tree["topics"]) == 2


def test_an_adapter_of_another_model_is_refused(
    mindprint: Mindprint, curriculum: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    wide = make_tokenizer(make_model(tmp_path / "wide", "qwen2", intermediate_size=96))
    words = (wide, curriculum, "--adapter", adapters[0], "--backend", "torch")
    refused(mindprint("eval", *words, *QUICK), "does not fit this model", str(adapters[0]))


TASK = """\
task: mp_lamps
dataset_path: json
dataset_kwargs:
  data_files: {{test: {folder}/rows.jsonl}}
  cache_dir: {folder}/cache
test_split: test
output_type: multiple_choice
doc_to_text: '{{{{q}}}}'
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
"""


def test_tasks_of_lm_eval(
    mindprint: Mindprint,
    model: Path,
    adapters: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lm_eval.tasks import TaskManager

    # Without the thousands that come with lm-eval, which are no part of this.
    class Quick(TaskManager):  # type: ignore[misc]  # lm-eval ships no types
        def __init__(self, include_path: str | None, include_defaults: bool = True) -> None:
            super().__init__(include_path=include_path, include_defaults=False)

    monkeypatch.setattr("lm_eval.tasks.TaskManager", Quick)
    rows = [{"q": f"Lamp {n}?", "choices": ["lit", "out"], "answer": n % 2} for n in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "lamps.yaml").write_text(TASK.format(folder=tmp_path))
    words = ("--tasks", "mp_lamps", "--include-path", tmp_path, "--device", "cpu")
    shown = mindprint("eval", model, *words, "--backend", "torch", "--adapter", adapters[0])
    assert shown.code == 0, shown.err
    assert "|mp_lamps|" in shown.out.replace(" ", "")
    told = mindprint("eval", model, *words, "--backend", "torch", "--limit", 4, "--chat", "--json")
    assert told.code == 0, told.err
    assert 0 <= told.tree["results"]["mp_lamps"]["acc,none"] <= 1
    assert told.tree["n-samples"]["mp_lamps"]["effective"] == 4

    for asked in ("mp_lam?s", str(tmp_path / "lamps.yaml"), str(tmp_path / "l*.yaml")):
        found = mindprint("eval", model, "--tasks", asked, *words[2:], "--limit", 1, "--json")
        assert found.code == 0, found.err
        assert list(found.tree["results"]) == ["mp_lamps"]
    refused(mindprint("eval", model, "--tasks", "none.yaml"), "no task file `none.yaml`")
    (tmp_path / "bad.yaml").write_text("task: mp_bad\ncolour: red\n")
    bad = mindprint("eval", model, "--tasks", "mp_bad", *words[2:])
    refused(bad, "lm-eval cannot load `mp_bad`: TypeError", "'colour'", "bad.yaml")

    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "rows.jsonl").unlink()
    refused(mindprint("eval", model, *words), "lm-eval cannot load `mp_lamps`", "rows.jsonl")
    named = ("--tasks", "mp_lumps", "--device", "cpu")
    refused(mindprint("eval", model, *named), "no task `mp_lumps`")


def test_without_lm_eval_the_command_that_brings_it_is_named(
    mindprint: Mindprint, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lm_eval.api.model", "lm_eval"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("mindprint.evals.harness", "mindprint.cli.harness"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    said = mindprint("eval", model, "--tasks", "arc_easy", "--backend", "torch")
    assert said.code == 69
    assert "pip install 'mindprint[lm-eval]'" in said.error

"""An adapter of others becomes a run: exactly, or refused with nothing left behind."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import adapter_files, mlx_files, peft_files, spline
from backends.contract import AdapterSpec, Params, Spline
from backends.lora import name_a, name_b, name_m, name_s, name_v
from mindprint.config import resolve
from mindprint.export import probes
from mindprint.footprint import read_sizes
from mindprint.heritage import Heritage
from mindprint.inputs import Inputs, Origin, read_inputs, write_inputs
from mindprint.ledger import read
from mindprint.pipeline import Order
from mindprint.rundir import RunDir
from mindprint.sameness import Differs
from mindprint.target import Target
from tests.cli.conftest import Mindprint, Said
from tests.cli.stops import refused
from tests.cli.test_train import QUICK
from tests.tiny import make_model, make_tokenizer
from tests.unit.export.ledgers import make_run

SPEC = AdapterSpec(rank=3, alpha=7.0)
SETTINGS = [word for one in (*QUICK, "gate.rollback=false") for word in ("--set", one)]
SETTINGS += ["--set", "dpo.when=never", "--set", "eval.retention=off", "--set", "eval.max_tokens=2"]


def tensors_of(model: Path, seed: int = 0, only: str = "_proj") -> Params:
    rng, made = np.random.default_rng(seed), Params()
    for path, (out, inputs) in read_sizes(model).linears.items():
        if path.endswith(only):
            a, b = rng.standard_normal((3, inputs)), rng.standard_normal((out, 3))
            made[name_a(path)] = (0.1 * a).astype(np.float32)
            made[name_b(path)] = (0.1 * b).astype(np.float32)
    return made


PACKABLE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
}
"""Rows that fill a packed group."""

DORA = AdapterSpec(rank=3, alpha=7.0, kind="dora")


def dora_of(model: Path) -> Params:
    """With magnitudes a tenth above the rows' norms."""
    made, held = tensors_of(model), load_file(model / "model.safetensors")
    for name in [name for name in made if name.endswith("_B")]:
        path = name.removesuffix(".lora_B")
        norms = np.linalg.norm(held[f"{path}.weight"], axis=1)
        made[name_m(path)] = (1.1 * norms).astype(np.float32)
    return made


@pytest.fixture
def peft_folder(model: Path, tmp_path: Path) -> Path:
    linears = read_sizes(model).linears
    folder = tmp_path / "their-adapter"
    peft_files.write(folder, SPEC, tensors_of(model), base="owner/tiny-qwen2", linears=linears)
    return folder


@pytest.fixture(params=["torch", "mlx"])
def framework(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    pytest.importorskip(name if name == "torch" else "mlx.core")
    return name


def adopt(
    mindprint: Mindprint, folder: Path, model: Path, *words: object, backend: str = "torch"
) -> Said:
    place = ("--backend", backend, "--device", "cpu")
    return mindprint("adopt", folder, "--model", model, "--out", "run", *place, *words)


def test_a_peft_adapter_is_a_run_that_chats_and_is_asked(
    mindprint: Mindprint, peft_folder: Path, model: Path, curriculum: Path, tmp_path: Path
) -> None:
    said = adopt(mindprint, peft_folder, model, "--json")
    assert said.code == 0, said.err
    assert said.tree["effect"]["largest"] > 0 and said.tree["notices"] == []
    spec, kept = peft_files.read(tmp_path / "run" / said.tree["entry"]["folder"])
    assert (spec.rank, spec.alpha) == (3, 7.0)
    given = tensors_of(model)
    assert kept.keys() == given.keys()
    assert all(np.array_equal(kept[name], given[name]) for name in given)
    listed = mindprint("ledger", "run")
    assert "their-adapter  adopted  in force" in listed.out and "never changed" in listed.out
    assert mindprint("chat", "run", "--once", "Who?", "--max-tokens", "3").code == 0
    asked = ("--set", "eval.max_tokens=3", "--topic", "unit-01-bees", "--json")
    found = mindprint("eval", "run", curriculum, *asked)
    assert found.code == 0, found.err
    assert [one["origin"] for one in found.tree["adapters"]] == ["their-adapter"]
    refused(mindprint("eval", "run"), 2, "brings no curriculum", "eval run CURRICULUM")
    refused(mindprint("resume", "run"), 2, "train CURRICULUM --from run")
    refused(mindprint("resume", "run", "--fork", "new"), 2, "train CURRICULUM --from run")
    refused(mindprint("report", "run"), 2, "no scores yet", "eval run CURRICULUM")
    refused(mindprint("drop", "run", "their-adapter", "--out", "new"), 2, "all there is")
    runs = mindprint("runs", tmp_path, "--json").tree
    assert [one["status"] for one in runs] == ["adopted"]


def test_an_adapter_of_mlx_lm_keeps_its_scale_and_its_blocks(
    mindprint: Mindprint, model: Path, tmp_path: Path
) -> None:
    """mlx-lm adapts the last blocks only, and names the layers of all."""
    given = {name: one for name, one in tensors_of(model).items() if ".layers.1." in name}
    spec = AdapterSpec(rank=3, alpha=0.7 * 3)
    mlx_files.write(tmp_path / "theirs", spec, given, base=str(model), layers=2)
    config = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    config["lora_parameters"]["scale"] = 0.7
    (tmp_path / "theirs" / "adapter_config.json").write_text(json.dumps(config))
    said = adopt(mindprint, tmp_path / "theirs", model, "--name", "letters")
    assert said.code == 0, said.err
    spec, kept = peft_files.read(tmp_path / "run/past/01")
    assert spec.scale == pytest.approx(0.7, rel=1e-15)  # one rounding of 0.7 * 3 / 3
    assert kept.keys() == given.keys()
    assert all(np.array_equal(kept[name], given[name]) for name in given)


@pytest.mark.parametrize("form", ["PEFT", "mlx-lm"])
def test_a_dora_of_others_is_a_run(
    mindprint: Mindprint, model: Path, tmp_path: Path, form: str
) -> None:
    given, theirs = dora_of(model), tmp_path / "theirs"
    if form == "PEFT":
        peft_files.write(theirs, DORA, given, base=str(model), linears=read_sizes(model).linears)
    else:
        mlx_files.write(theirs, DORA, given, base=str(model), layers=2)
    said = adopt(mindprint, theirs, model, "--json")
    assert said.code == 0, said.err
    assert said.tree["entry"]["kind"] == "dora" and said.tree["effect"]["largest"] > 0
    spec, kept = peft_files.read(tmp_path / "run/past/01")
    assert spec.kind == "dora" and spec.scale == pytest.approx(7 / 3, rel=1e-15)
    assert kept.keys() == given.keys()
    assert all(np.array_equal(kept[name], given[name]) for name in given)
    settings = read_inputs(tmp_path / "run").config
    assert (settings["adapter.kind"], settings["adapter.rank"]) == ("dora", 3)
    listed = mindprint("ledger", "run")
    assert listed.code == 0 and " dora " in listed.out


def test_an_exported_ls_lora_comes_back(
    mindprint: Mindprint, model: Path, tmp_path: Path, framework: str
) -> None:
    """mindprint's own `peft_type`, with the spline's settings."""
    own = Spline(knots=7, low=-2.0, high=4.0, interpolation="soft", outside="clamp")
    spec, given = AdapterSpec(rank=3, alpha=7.0, kind="lslora", spline=own), tensors_of(model)
    for name in [name for name in given if name.endswith("_B")]:
        path = name.removesuffix(".lora_B")
        given[name_v(path)] = (1.2 * spline.knots(own)).astype(np.float32)
        given[name_s(path)] = np.array([1.0, 0.9], np.float32)
    linears = read_sizes(model).linears
    peft_files.write(tmp_path / "theirs", spec, given, base=str(model), linears=linears)
    said = adopt(mindprint, tmp_path / "theirs", model, "--json", backend=framework)
    assert said.code == 0, said.err
    settings = read_inputs(tmp_path / "run").config
    assert settings["adapter.kind"] == "lslora" and settings["adapter.knots"] == 7
    assert list(settings["adapter.grid"]) == [-2.0, 4.0]
    assert settings["adapter.interpolation"] == "soft" and settings["adapter.outside"] == "clamp"
    kept = peft_files.read(tmp_path / "run/past/01")[1]
    assert all(np.array_equal(kept[name], given[name]) for name in given)


def test_an_ls_lora_over_a_quantized_base_comes_back_by_its_own_recipe(
    mindprint: Mindprint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the export's card says, word for word, opens the model that it was trained over."""
    monkeypatch.setattr(probes, "MAX_TOKENS", 4)
    base = make_tokenizer(make_model(tmp_path / "base", "llama", **PACKABLE))
    spec = AdapterSpec(rank=2, alpha=4.0, kind="lslora", spline=Spline())
    made = make_run(tmp_path / "r", base, specs=(spec,), quantization="4bit")
    said = mindprint("export", made, "theirs", "--to", "adapter", "--device", "cpu", "--json")
    assert said.code == 0, said.err
    assert any("as they are quantized" in note for note in said.tree["made"]["notes"])
    card = (tmp_path / "theirs" / "README.md").read_text("utf-8")
    assert "it was trained over the base's weights as they are quantized" in card
    line = next(line for line in card.splitlines() if line.startswith("mindprint adopt"))
    words = shlex.split(line, comments=True)[1:]
    assert words[-4:] == ["--backend", "torch", "--set", "model.quantization=4bit"]
    monkeypatch.chdir(tmp_path / "theirs")
    words[words.index("--model") + 1] = str(base)  # "or the path of its folder"
    said = mindprint(*words, "--device", "cpu")
    assert said.code == 0, said.err
    ledgers = [read(RunDir(place)) for place in (made, tmp_path / "theirs" / "run")]
    assert ledgers[0].model_id == ledgers[1].model_id
    assert read_inputs(tmp_path / "theirs" / "run").config["model.quantization"] == "4bit"


def test_a_setting_of_what_the_adapter_has_is_refused(
    mindprint: Mindprint, peft_folder: Path, model: Path, tmp_path: Path
) -> None:
    said = adopt(mindprint, peft_folder, model, "--set", "adapter.rank=5")
    refused(said, 2, "`adapter.rank` is the adapter's own", "leave `--set adapter.rank=5` out")
    assert not (tmp_path / "run").exists()


def test_what_is_odd_and_harmless_is_told(
    mindprint: Mindprint, model: Path, tmp_path: Path
) -> None:
    given = tensors_of(model)
    silent = {name: one * (name.endswith("_A")) for name, one in given.items()}
    linears = read_sizes(model).linears
    peft_files.write(tmp_path / "theirs", SPEC, silent, base="other/model", linears=linears)
    said = adopt(mindprint, tmp_path / "theirs", model)
    assert said.code == 0, said.err
    assert "it says it was trained on `other/model`" in said.err
    assert "all of its B are zero" in said.err and "changes no logit" in said.out


def test_both_backends_adopt_the_same(
    mindprint: Mindprint, peft_folder: Path, model: Path, curriculum: Path, tmp_path: Path
) -> None:
    """The same bytes and, to float32's last digits, the same effect; the run opens on either."""
    made: dict[str, Any] = {}
    for backend in ("torch", "mlx"):
        pytest.importorskip(backend if backend == "torch" else "mlx.core")
        said = adopt(mindprint, peft_folder, model, "--json", backend=backend)
        assert said.code == 0, said.err
        assert said.tree["entry"]["backend"] == backend
        made[backend] = said.tree
        (tmp_path / "run").rename(tmp_path / backend)
    one, other = made["torch"], made["mlx"]
    assert one["entry"]["sha256"] == other["entry"]["sha256"]
    assert one["effect"]["positions"] == other["effect"]["positions"]
    assert one["effect"]["share"] == pytest.approx(other["effect"]["share"], rel=1e-4)
    assert one["effect"]["largest"] == pytest.approx(other["effect"]["largest"], rel=1e-4)
    for words in ((), ("--backend", "torch")):
        said = mindprint("chat", "mlx", "--once", "Who?", "--max-tokens", "3", *words)
        assert said.code == 0, said.err


def test_what_makes_the_logits_infinite_is_not_adopted(
    mindprint: Mindprint, peft_folder: Path, model: Path, tmp_path: Path, framework: str
) -> None:
    """Every number is finite; the products are not."""
    big = {name: one * np.float32(1e20) for name, one in tensors_of(model).items()}
    peft_files.write(peft_folder, SPEC, big, base="x", linears=read_sizes(model).linears)
    said = adopt(mindprint, peft_folder, model, backend=framework)
    refused(said, 2, "logits are no longer finite", "their-adapter")
    assert [path.name for path in tmp_path.iterdir()] == ["their-adapter"]


def test_a_base_that_says_nothing_is_told_apart_from_its_adapter(
    mindprint: Mindprint, peft_folder: Path, model: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(model, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] *= np.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    refused(adopt(mindprint, peft_folder, broken), 2, "the model's own logits are not finite")
    assert not (tmp_path / "run").exists()


def test_what_a_stranger_calls_its_base_stays_on_its_line(
    mindprint: Mindprint, peft_folder: Path, model: Path
) -> None:
    configured(peft_folder, model, base_model_name_or_path="a/b\nadopted `x`\x1b[2J: all is well")
    said = adopt(mindprint, peft_folder, model)
    assert said.code == 0, said.err
    told = next(line for line in said.err.splitlines() if "it says" in line)
    assert "a/b adopted `x`" in told and "it is put on" in told and "\x1b" not in said.err
    assert (
        "\n"
        not in adopt(mindprint, peft_folder, model, "--out", "again", "--json").tree["notices"][0]
    )


def test_shapes_are_compared_before_a_tensor_is_read(
    mindprint: Mindprint,
    peft_folder: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The header tells of them; a file of any size is left alone."""
    monkeypatch.setattr(adapter_files, "tensors", lambda file: pytest.fail("a tensor was read"))
    reshaped(peft_folder, model, transposed)
    refused(adopt(mindprint, peft_folder, model), 2, "does not fit", "the model needs")
    refused(
        mindprint("eval", model, "--adapter", peft_folder), 2, "does not fit", "the model needs"
    )
    wide = {
        "x.lora_A": np.zeros((3, 4 * 80 + 1), np.float32),
        "x.lora_B": np.zeros((2, 3), np.float32),
    }
    peft_files.write(peft_folder, SPEC, wide, base="x", linears=["x"])
    refused(adopt(mindprint, peft_folder, model), 2, "(3, 321)", "widest layer has 80")


def reshaped(folder: Path, model: Path, change: Callable[[Params], Params]) -> None:
    dora = change in (without_magnitude, with_odd_magnitude)
    spec = DORA if dora else SPEC
    made = change(dora_of(model) if dora else tensors_of(model))
    peft_files.write(folder, spec, made, base="x", linears=read_sizes(model).linears)


def configured(folder: Path, model: Path, **keys: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


def first(given: Params, kind: str) -> str:
    return next(name for name in given if name.endswith(kind))


def without_b(given: Params) -> Params:
    return {name: one for name, one in given.items() if name != first(given, "_B")}


def with_nan(given: Params) -> Params:
    given[first(given, "_A")][0, 0] = np.nan
    return given


def with_huge_b(given: Params) -> Params:
    """Finite as it is stored, and infinite as it acts: 2e38 times 7/3."""
    given[first(given, "_B")][0, 0] = 2e38
    return given


def transposed(given: Params) -> Params:
    name = first(given, "_B")
    return {**given, name: np.ascontiguousarray(given[name][:-1])}


def on_the_head(given: Params) -> Params:
    return {**given, "lm_head.lora_A": np.ones((3, 48), np.float32)}


def without_magnitude(given: Params) -> Params:
    return {name: one for name, one in given.items() if name != first(given, "_vector")}


def with_odd_magnitude(given: Params) -> Params:
    given[first(given, "_vector")][0] = np.inf
    return given


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_b, ("does not fit", "is None")),
        (with_nan, ("not finite", "lora_A")),
        (transposed, ("does not fit", "the model needs")),
        (on_the_head, ("it adapts `lm_head`",)),
        ({"use_dora": True}, ("does not fit", "lora_magnitude_vector` is None")),
        ({"rank_pattern": {"q_proj": 2}}, ("`rank_pattern` is set",)),
        ({"peft_type": "IA3"}, ("peft_type `IA3`",)),
        ({"lora_alpha": 0}, ("its factor is 0",)),
        ({"lora_alpha": 1e-60}, ("its factor is", "not above 0 in float32")),
        ({"lora_alpha": 1e300}, ("its factor is", "beyond the range of float32")),
        (with_huge_b, ("1 tensor with", "not finite", "lora_B", "B times the factor 2.33")),
        (without_magnitude, ("does not fit", "lora_magnitude_vector` is None")),
        (with_odd_magnitude, ("1 tensor with", "not finite", "lora_magnitude_vector")),
        ({"lora_alpha": 10**400}, ("`lora_alpha` is 1000", "not a number")),
        ({"r": 10**400}, ("`r` is more than any of its tensors has",)),
    ],
)
def test_what_cannot_act_as_it_was_trained_is_refused_unopened(
    mindprint: Mindprint,
    peft_folder: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Any,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setattr(Target, "open", lambda *_: pytest.fail("the model was opened"))
    if callable(change):
        reshaped(peft_folder, model, change)
    else:
        configured(peft_folder, model, **change)
    refused(adopt(mindprint, peft_folder, model), 2, *words)
    assert not (tmp_path / "run").exists()


def test_a_base_that_changed_leaves_no_run(
    mindprint: Mindprint, peft_folder: Path, model: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """What attaching and unloading leaves is looked at, not believed."""
    from backends.torch.adapters import TorchAdapters

    prints = iter([{"a": 1}, {"a": 2}])
    monkeypatch.setattr(TorchAdapters, "base_fingerprint", lambda self: next(prints))
    said = adopt(mindprint, peft_folder, model)
    refused(said, 70, "1 base tensors changed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["their-adapter"]


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nowhere", ("there is no folder", "mlx-lm")),
        ("model", ("is a model, not an adapter",)),
        ("empty", ("is no adapter", "adapter_model.safetensors")),
    ],
)
def test_what_is_no_adapter(
    mindprint: Mindprint, model: Path, tmp_path: Path, folder: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "empty").mkdir()
    place = model if folder == "model" else tmp_path / folder
    refused(adopt(mindprint, place, model), 2, *words)
    refused(adopt(mindprint, place, model, "--name", "a b"), 2, "cannot name an adapter")


@pytest.fixture
def two_topics(curriculum: Path) -> tuple[str, str]:
    from tests.cli.stops import topics_of

    one, two, *_ = topics_of(curriculum)
    return one, two


def test_training_goes_on_over_an_adopted_adapter(
    mindprint: Mindprint,
    peft_folder: Path,
    model: Path,
    curriculum: Path,
    tmp_path: Path,
    two_topics: tuple[str, str],
) -> None:
    assert adopt(mindprint, peft_folder, model, "--name", "first").code == 0
    words = ("--from", "run", "--out", "more", "--topic", two_topics[0], *SETTINGS)
    said = mindprint("train", curriculum, *words)
    assert said.code == 1, said.err  # a random model passes no gate
    assert "past" in said.err and "began with 1 adapter trained elsewhere: first" in said.err
    tree = mindprint("ledger", "more", "--json").tree
    stages = [(one["topic"], one["stage"], one["state"]) for one in tree["entries"]]
    assert stages == [("first", "adopted", "in force"), (two_topics[0], "sft", "in force")]
    result = mindprint("report", "more", "--json").tree
    scores = result["topics"][0]["scores"]
    assert scores["base"] != scores["before"], "`before` is asked with the adapter, `base` without"
    again = mindprint("resume", "more")
    assert again.code == 1, again.err
    assert "adapters that act from the start" in said.err
    # a lost ledger is made again from what the run began with and its topics' records
    was = (tmp_path / "more/ledger.json").read_bytes()
    (tmp_path / "more/ledger.json").unlink()
    again = mindprint("resume", "more")
    assert again.code == 1 and "adapters that act from the start" in again.err, again.err
    assert (tmp_path / "more/ledger.json").read_bytes() == was
    wrong = mindprint("train", curriculum, *words[:2], "--out", "x", "--until", "nobody")
    refused(wrong, 2, "the ledger has no topic `nobody`")
    forked = mindprint("resume", "more", "--fork", "forked")
    assert forked.code == 1, forked.err
    assert "adapters that act from the start" in forked.err
    assert (tmp_path / "forked/ledger.json").read_bytes() == was
    # a run that began with adapters loses one of them, or one of its own
    refused(mindprint("drop", "more", two_topics[0], "--out", "less"), 2, "only topic of its own")
    dropped = mindprint("drop", "more", "first", "--out", "less")
    assert dropped.code in (0, 1), dropped.err
    left = mindprint("ledger", "less", "--json").tree
    assert [one["topic"] for one in left["entries"]] == [two_topics[0]]
    assert not (tmp_path / "less/past/01").exists()
    refused(
        mindprint("train", curriculum, "--from", "more", "--out", "y", "--topic", two_topics[0]),
        2,
        f"`{two_topics[0]}` was trained in that run already",
        "resume more --fork NEW",
    )
    (tmp_path / "more/past/01/adapter_config.json").write_text("{}")
    refused(mindprint("resume", "more"), 65, "put back a copy: the adapter is of")


def test_what_does_not_go_together_is_refused_before_training(
    mindprint: Mindprint,
    peft_folder: Path,
    model: Path,
    curriculum: Path,
    tmp_path: Path,
    no_model: None,
) -> None:
    from tests.tiny import make_model, make_tokenizer

    assert adopt(mindprint, peft_folder, model).code == 0
    words = ("train", curriculum, "--from", "run", "--out", "more", "--set", "handoff=continue")
    said = mindprint(*words)
    odd = ("adapter.rank, adapter.alpha", "--set adapter.rank=3 --set adapter.alpha=7.0")
    refused(said, 2, "keeps its shape", *odd)
    refused(mindprint(*words, "--set", "adapter.targets=[q_proj]"), 2, "adapter.targets")
    other = make_tokenizer(make_model(tmp_path / "other", "qwen2", seed=9))
    refused(mindprint(*words, "--model", other), 2, "1 thing is not as it began")
    # the same model, which is to read other tokens
    same = shutil.copytree(model, tmp_path / "same")
    tokens = same / "tokenizer_config.json"
    tokens.write_text(tokens.read_text("utf-8") + "\n", "utf-8")
    said = mindprint(*words, "--model", same)
    refused(said, 2, "\n      tokenizer and template", "adapters learned with those")
    assert not (tmp_path / "more").exists()
    refused(mindprint("train", curriculum, "--until", "a"), 2, "`--until` is for `--from`")


def test_what_was_trained_otherwise_is_told_or_refused(
    mindprint: Mindprint, peft_folder: Path, model: Path, tmp_path: Path
) -> None:
    assert adopt(mindprint, peft_folder, model).code == 0
    past = Heritage.of(tmp_path / "run", None)
    assert past.told("You are a keeper.") == (), "others' adapters are of no known prompt"
    ours = replace(past, inputs=replace(past.inputs, curriculum=tmp_path, system="You are."))
    assert ours.told("You are.") == ()
    assert "the system prompt is another" in ours.told("You are a keeper.")[0]
    config = resolve(None, ["model.enable_thinking=true"]).config
    with pytest.raises(Differs) as caught:
        ours.check(config, (), ours.inputs.model_id, "other", ())
    assert [one.what for one in caught.value.differences][1] == "model.enable_thinking"
    assert "--set model.enable_thinking=false" in (caught.value.hint or "")


def test_what_a_killed_run_left_is_not_begun_with(
    mindprint: Mindprint,
    peft_folder: Path,
    model: Path,
    curriculum: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """... and a run over another one keeps in mind what was dropped from that."""
    assert adopt(mindprint, peft_folder, model).code == 0
    gone = Origin(run="/elsewhere", ledger="", topics=("smoke",))
    write_inputs(tmp_path / "run", replace(read_inputs(tmp_path / "run"), dropped=(gone,)))
    begun: list[tuple[Order, bool, Inputs]] = []

    def begins(order: Order, *words: Any) -> None:
        run = words[2].path
        begun.append((order, (run / "past").exists(), read_inputs(run)))
        raise KeyboardInterrupt

    monkeypatch.setattr("mindprint.pipeline.run_curriculum", begins)
    for past in (("--model", model), ("--from", "run")):
        shutil.copytree(tmp_path / "run/past", tmp_path / "k1/past")  # and no inputs: killed there
        place = ("--out", "k1", "--backend", "torch", "--device", "cpu")
        assert mindprint("train", curriculum, *past, *place).code == 130
        shutil.rmtree(tmp_path / "k1", ignore_errors=True)
    (bare, with_past, inputs), (over, kept, heirs) = begun
    assert (
        not with_past and inputs.dropped == () and not any("dropped from" in n for n in bare.notes)
    )
    assert kept and heirs.dropped == (gone,) and over.dropped == ()
    assert any("`smoke` was dropped from /elsewhere." in note for note in over.notes)


def test_an_adapter_that_does_not_travel_is_not_taken(
    mindprint: Mindprint, peft_folder: Path, model: Path, curriculum: Path, tmp_path: Path
) -> None:
    """A byte that changed since it was adopted is seen before the model is opened."""
    assert adopt(mindprint, peft_folder, model).code == 0
    file = tmp_path / "run/past/01/adapter_model.safetensors"
    held = bytearray(file.read_bytes())
    held[-1] ^= 1
    file.write_bytes(held)
    said = mindprint("train", curriculum, "--from", "run", "--out", "more")
    refused(said, 2, "an adapter is not the one that was written")
    refused(adopt(mindprint, peft_folder, model), 2, "is not empty")

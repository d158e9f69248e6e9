"""`mindprint export`: what it refuses before a weight is loaded, what it writes and prints."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from backends.contract import AdapterSpec, Availability, Choice, ModelSpec, Spline
from backends.mlx_conversion import Conversion, Converted
from backends.torch import TorchBackend
from mindprint.cli import ground
from mindprint.config import resolve
from mindprint.export import checked, mlx, probes, witness
from mindprint.inputs import Inputs
from mindprint.quizzing import Quizzes
from mindprint.tokens.render import Renderer
from tests import runs
from tests.cli.conftest import Mindprint
from tests.tiny import make_model, make_tokenizer
from tests.unit.export.ledgers import FIRST, SECOND, inside, make_run


@pytest.fixture
def made(tmp_path: Path, model: Path) -> Path:
    return make_run(tmp_path / "r", model)


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weight may be loaded."""

    def refused(self: TorchBackend, spec: ModelSpec) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr(TorchBackend, "open", refused)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "witness", inside)
    monkeypatch.setattr(probes, "MAX_TOKENS", 4)


WRONG = (
    ("--to mergd", "did you mean `merged`?"),
    ("--to merged --rank 4", "`--rank` has no part in `--to merged`"),
    ("--to adapter --quantize 4", "`--quantize` has no part in `--to adapter`"),
    ("--to adapter --dtype float16", "`--dtype` has no part in `--to adapter`"),
    ("--to adapter --bound 0", "`--bound` is 0, not above 0"),
    ("--to adapter --least-squares", "so there is nothing to fit"),
    ("--to adapter --unverified pef", "did you mean `peft`?"),
    ("--to merged --unverified peft", "is not opened with `peft`"),
    ("--to adapter --until nowhere", "the ledger has no topic `nowhere`"),
    ("--to adapter --without nowhere", "no adapter of a topic `nowhere` is in force"),
    (f"--to adapter --without {FIRST} --without {SECOND}", "nothing to export"),
    ("--to merged --dtype bf16", "there is no dtype `bf16`"),
    ("--to adapter --backend jax", "there is no backend `jax`"),
    ("--to adapter --model nowhere/at/all", "no model at `nowhere/at/all`"),
)


@pytest.mark.usefixtures("unopened")
@pytest.mark.parametrize(("words", "told"), WRONG)
def test_refused_before_any_weight_is_loaded(
    mindprint: Mindprint, made: Path, words: str, told: str
) -> None:
    said = mindprint("export", made, "out", *words.split())
    assert said.code in (2, 69) and told in said.error, said.err
    assert "hint:" in said.error and not Path("out").exists()


@pytest.mark.usefixtures("unopened")
def test_splines_and_packed_weights_are_seen_before_any_weight_is_loaded(
    mindprint: Mindprint, tmp_path: Path, model: Path
) -> None:
    bent = AdapterSpec(rank=2, alpha=4.0, kind="lslora", spline=Spline())
    run = make_run(tmp_path / "bent", model, specs=(bent,))
    said = mindprint("export", run, "out", "--to", "merged")
    assert said.code == 2 and "cannot hold the splines of LS-LoRA" in said.error, said.err
    assert "`--least-squares`" in said.error and not Path("out").exists()
    run = make_run(tmp_path / "packed", model, quantization="4bit", backend="torch")
    said = mindprint("export", run, "out", "--to", "merged", "--backend", "mlx")
    assert said.code == 2 and "is quantized as torch does it" in said.error, said.err
    assert "`--backend torch`" in said.error and not Path("out").exists()


@pytest.mark.usefixtures("quick")
def test_an_ls_lora_that_was_exported_says_who_reads_it(
    mindprint: Mindprint, tmp_path: Path, model: Path
) -> None:
    bent = AdapterSpec(rank=2, alpha=4.0, kind="lslora", spline=Spline())
    run = make_run(tmp_path / "bent", model, specs=(bent,))
    said = mindprint("export", run, "out", "--to", "adapter")
    assert said.code == 0, said.err
    assert "LS-LoRA, rank 2" in said.out and "opened again by it on torch" in said.err
    assert "nothing was verified" not in said.err


@pytest.mark.usefixtures("unopened")
def test_a_folder_that_holds_something_is_left_alone(mindprint: Mindprint, made: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    said = mindprint("export", made, "out", "--to", "adapter")
    assert said.code == 2 and "`out` is not empty" in said.error and "--> DIR" in said.error
    assert [file.name for file in Path("out").iterdir()] == ["mine.txt"]
    assert "is the run" in mindprint("export", made, made, "--to", "adapter").error


@pytest.mark.usefixtures("unopened")
def test_places_that_are_none(mindprint: Mindprint, made: Path, model: Path) -> None:
    Path("file").write_text("mine")
    Path("link").symlink_to(made / "topics")
    told = {
        "file": "`file` is a file",
        "file/x": "cannot write the export: Not a directory",
        made / "export": "lies in the folder of the run",
        "link/export": "lies in the folder of the run",
        model / "export": "lies in the folder of the base model",
    }
    for place, wanted in told.items():
        said = mindprint("export", made, place, "--to", "adapter")
        assert said.code == 2 and wanted in said.error and "--> DIR" in said.error, said.err
    assert not (made / "export").exists() and not (model / "export").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("words", ["mlx --quantize 8", "mlx", "ollama"])
def test_whole_models_of_other_formats(
    mindprint: Mindprint, tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the command; the conversion in this process, as starting one costs seconds."""
    from backends.mlx.convert import convert

    def here(job: Conversion) -> Converted:
        with contextlib.redirect_stdout(sys.stderr):  # as it is kept apart in its own process
            return convert(job)

    monkeypatch.setattr(mlx, "_converted", here)
    monkeypatch.setattr(mlx, "witness", inside)
    wide: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    base = make_tokenizer(make_model(tmp_path / "tiny", "llama", **wide, intermediate_size=96))
    made = make_run(tmp_path / "r", base)
    if "quantize" in words:
        monkeypatch.setattr(Quizzes, "of_run", of_lamps)
    said = mindprint("export", made, "out", "--to", *words.split(), "--json")
    assert said.code == 0, said.err
    tree, card = said.tree, Path("out/README.md").read_text("utf-8")
    found = {one["framework"]: one for one in tree["checked"]["verified"]}
    if "quantize" in words:
        assert tree["made"]["quantize"] == 8 and tree["made"]["figures"]["quiz"]["topics"]
        assert "## What quantizing did" in card and found["mlx-lm"]["lost"] > 1e-3
    else:
        assert all(one["lost"] < 1e-5 and one["limit"] < 2e-3 for one in found.values())
    both = {"transformers", "mlx-lm"}
    assert set(found) == (both if words == "ollama" else {"mlx-lm"})
    assert ("Modelfile" in tree["files"]) == (words == "ollama")
    assert "config.json" in tree["files"]


def of_lamps(inputs: Inputs, run: Path, topics: Sequence[str], renderer: Renderer) -> Quizzes:
    """A quiz of two topics on lamps."""
    teach = runs.curriculum()
    config = resolve(None, ["eval.max_tokens=4"], model__path="m").config
    return Quizzes(teach, teach.topics, renderer, config)


@pytest.mark.usefixtures("unopened")
def test_an_adapter_that_was_changed_is_not_exported(mindprint: Mindprint, made: Path) -> None:
    file = made / "topics" / FIRST / "sft" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    said = mindprint("export", made, "out", "--to", "adapter")
    assert said.code == 2 and "not the one that was written" in said.error


@pytest.mark.usefixtures("quick")
def test_an_adapter_as_peft_reads_it(mindprint: Mindprint, made: Path) -> None:
    Path("out").mkdir()  # empty: may be there
    said = mindprint("export", made, "out", "--to", "adapter", "--json")
    assert said.code == 0, said.err
    tree = said.tree
    assert tree["entries"] == [f"{FIRST}:sft", f"{SECOND}:sft"]
    assert tree["made"] | {"form": "adapter", "rank": 6, "dtype": "float32"} == tree["made"]
    peft = tree["checked"]["verified"][0]
    assert peft["framework"] == "peft" and peft["lost"] < 1e-5 and peft["answers"] == peft["asked"]
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert set(tree["files"]) == names == {file.name for file in Path("out").iterdir()}
    assert "asking the run's own model" in said.err


@pytest.mark.usefixtures("quick")
def test_a_merged_model_is_shown_with_what_each_library_made_of_it(
    mindprint: Mindprint, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = witness.installed()
    gone = here | {"mlx-lm": Availability(False, "not installed: mlx-lm")}
    monkeypatch.setattr(checked, "installed", lambda: gone)
    said = mindprint("export", made, "out", "--to", "merged", "--until", FIRST)
    assert said.code == 0, said.err
    assert "plain transformers" in said.out and "effect lost" in said.out and FIRST in said.out
    assert "not verified with mlx-lm: not installed: mlx-lm" in said.err
    assert "mlx-lm" in Path("out/README.md").read_text("utf-8")


@pytest.mark.usefixtures("quick")
def test_a_refused_one_ends_with_1_and_leaves_nothing(
    mindprint: Mindprint, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library that scrambles the last digits gives."""

    def noisy(job: witness.Job) -> witness.Seen:
        seen = inside(job)
        rows = tuple(row + np.float32(0.5) for row in seen.logits)
        return witness.Seen(rows, seen.answers, seen.version)

    monkeypatch.setattr(checked, "witness", noisy)
    said = mindprint("export", made, "out", "--to", "adapter")
    assert said.code == 1 and "of the adapters' effect on the logits" in said.error
    assert "--> out\n" in said.error
    assert not Path("out").exists()
    assert not [one for one in Path().iterdir() if one.name.startswith(".out")]
    left = mindprint("export", made, "out", "--to", "adapter", "--unverified", "peft")
    assert left.code == 0 and "nothing was verified" in left.err
    assert "left out with `--unverified`" in left.err
    assert "compared with" not in left.out and "asking the run's own model" not in left.err


@pytest.mark.usefixtures("quick")
def test_a_run_made_where_its_backend_was_is_asked_on_the_one_that_is_here(
    mindprint: Mindprint, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = backends.available()
    gone = Availability(False, "not installed: torch")
    monkeypatch.setattr(backends, "available", lambda: found | {"torch": gone})
    monkeypatch.setattr(backends, "choose", lambda name: Choice("mlx", "here"))
    said = mindprint("export", made, "out", "--to", "adapter", "--json")
    assert said.code == 0, said.err
    assert "made on torch (not installed: torch): its model is asked on mlx" in said.err
    assert json.loads(said.out)["checked"]["exact"] == "mlx, float32"


@pytest.mark.usefixtures("quick")
def test_half_of_the_memory_is_not_enough(
    mindprint: Mindprint, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base that does not fit in float32 is asked in the run's own precision, aloud."""
    monkeypatch.setattr(ground, "machine", lambda: type("Small", (), {"memory": 1000}))
    run = make_run(Path("r"), model, dtype="bfloat16")
    words = ("export", run, "out", "--to", "adapter", "--bound", 9, "--json")
    said = mindprint(*words)
    assert said.code == 0, said.err
    assert "in float32 the base would take" in said.err and "in bfloat16" in said.err
    checks = json.loads(said.out)["checked"]
    assert checks["exact"] == "torch, bfloat16" and checks["verified"][0]["dtype"] == "stored"

"""Exports of DoRA, LS-LoRA and quantized bases: the run's model by other libraries, or refused.

The oracles are plain PEFT, plain transformers, plain mlx-lm, and `tests.conformance.dense`: every
adapter over transformers' own forward in float64.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from backends import lora, peft_files, spline
from backends.chain import Held
from backends.contract import AdapterSpec, Spline
from backends.errors import AdapterError
from mindprint.errors import ConfigError
from mindprint.export import adapter, bends, checked, exporting, merged, mlx_adapter, probes
from mindprint.export.checked import FLOAT32, ExportRefused
from mindprint.export.exporting import export
from mindprint.export.folded import as_adapter, folded
from mindprint.export.form import Asked
from mindprint.export.tensors import rows_of
from mindprint.export.witness import Framework
from mindprint.footprint import read_sizes
from tests.conformance.dense import Dense
from tests.conformance.test_export import FORMS, model
from tests.conformance.test_peft_folders import pefts_logits
from tests.conformance.trained import distance, real
from tests.tiny import random_batch
from tests.unit.export.ledgers import FIRST, SPECS, drawn, ground, inside, make_run

pytestmark = [
    # PEFT 0.21 still asks transformers under the older name.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

LORA, WIDE_LORA = SPECS
DORA = replace(LORA, kind="dora")
SMALL = replace(WIDE_LORA, kind="dora")
BENT = replace(LORA, kind="lslora", spline=Spline())
NEAR = 1e-4
"""Of the adapters' effect: m of a DoRA is stored in float32, 6e-8 of a row's norm, where the
change of a row is a hundredth of it and more."""
SIZE = 0.05


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "witness", inside)
    monkeypatch.setattr(probes, "MAX_TOKENS", 4)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("qwen2") / "m", "qwen2")


def entries(base: Path, specs: tuple[AdapterSpec, ...]) -> list[Held]:
    """As `make_run` draws them."""
    return [drawn(base, spec, n, SIZE, "" if n == 1 else "mlp") for n, spec in enumerate(specs, 1)]


def written(one: Held, base: Path, folder: Path) -> Path:
    peft_files.write(folder, *one, base="base", linears=read_sizes(base).linears)
    return folder


@pytest.mark.parametrize(
    "specs", [(DORA, SMALL), (DORA, WIDE_LORA), (LORA, SMALL)], ids=lambda specs: ""
)
def test_a_chain_with_dora_is_one_dora_in_plain_peft(
    qwen: Path, tmp_path: Path, specs: tuple[AdapterSpec, ...]
) -> None:
    """Files alone: no backend has a part in it."""
    held = entries(qwen, specs)
    batch = random_batch(np.random.default_rng(1))
    oracle = Dense(qwen)
    wanted = real(batch, oracle.logits(batch, held))
    rows = rows_of(qwen)
    one = as_adapter(folded(held, rows), rows)
    assert one[0].kind == "dora" and one[0].scale == 1.0
    found = pefts_logits(qwen, written(one, qwen, tmp_path / "one"), batch)
    effect = distance(wanted, real(batch, oracle.logits(batch)))
    assert distance(found, wanted) < NEAR * effect
    # the other order is another model
    turned = real(batch, oracle.logits(batch, held[::-1]))
    assert distance(turned, wanted) > 100 * NEAR * effect


def test_pefts_cat_of_two_dora_is_another_model(qwen: Path, tmp_path: Path) -> None:
    """`add_weighted_adapter(..., "cat")` is exact for LoRA; of two DoRA, the second trained over
    the first, it is off by percents of the logits, where the folded chain is not."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    held = [drawn(qwen, DORA, seed, SIZE) for seed in (1, 2)]
    batch = random_batch(np.random.default_rng(2))
    wanted = real(batch, Dense(qwen).logits(batch, held))
    folders = [written(one, qwen, tmp_path / str(n)) for n, one in enumerate(held)]
    bare = AutoModelForCausalLM.from_pretrained(qwen, dtype=torch.float32)
    both = PeftModel.from_pretrained(bare, folders[0], adapter_name="one")
    both.load_adapter(str(folders[1]), adapter_name="two")
    both.add_weighted_adapter(["one", "two"], [1.0, 1.0], "cat", combination_type="cat")
    both.set_adapter("cat")
    with torch.no_grad():
        logits = both.eval()(input_ids=torch.from_numpy(batch.ids).long()).logits
    rows = rows_of(qwen)
    ours = written(as_adapter(folded(held, rows), rows), qwen, tmp_path / "ours")
    assert distance(real(batch, np.asarray(logits.numpy())), wanted) > 1e-2
    assert distance(pefts_logits(qwen, ours, batch), wanted) < 1e-3


@pytest.mark.parametrize(("family", "backend"), [("qwen2", "torch"), ("phi3", "mlx")])
def test_dora_in_every_form(tmp_path: Path, family: str, backend: str) -> None:
    """As the run's own backend computes it, opened by PEFT, mlx-lm and transformers."""
    base = model(tmp_path / "m", family)
    on = ground(make_run(tmp_path / "r", base, specs=(DORA, SMALL), size=SIZE), backend)
    asked = []
    for form, write in FORMS.items():
        (tmp_path / form).mkdir()
        made, found = write(on, Asked(form), tmp_path / form)
        assert all(one.lost < NEAR and one.answers == one.asked for one in found.verified)
        assert made.kind == (None if form == "merged" else "dora")
        asked += [one.framework for one in found.verified]
    assert asked == ["peft", "mlx-lm", "transformers", "mlx-lm"]
    wanted = Dense(base).weight(path := "model.layers.1.mlp.down_proj", on.source.adapters())
    merge = load_file(tmp_path / "merged" / "model.safetensors")[f"{path}.weight"]
    # What is added has factors of float32, and the sum is rounded to it once: 6e-8 apiece.
    assert np.abs(merge - wanted).max() < 1.5e-7 * np.abs(wanted).max()


def test_a_single_dora_goes_as_it_is_and_a_smaller_one_is_measured(
    qwen: Path, tmp_path: Path
) -> None:
    on = ground(make_run(tmp_path / "r", qwen, specs=(DORA,), size=SIZE), "torch")
    (tmp_path / "out").mkdir()
    adapter.write(on, Asked("adapter"), tmp_path / "out")
    ((_, own),), (spec, found) = on.source.adapters(), peft_files.read(tmp_path / "out")
    assert spec.kind == "dora" and all(np.array_equal(found[name], own[name]) for name in own)
    with pytest.raises(ExportRefused, match="with peft") as no:
        (tmp_path / "cut").mkdir()
        adapter.write(on, Asked("adapter", rank=1), tmp_path / "cut")
    assert "`--rank " in no.value.hint
    (tmp_path / "loose").mkdir()
    made, seen = adapter.write(replace(on, bound=5.0), Asked("adapter", rank=2), tmp_path / "loose")
    assert made.rank == 2 and 0.05 < made.weight_error < 1 and 0.05 < seen.lost < 5
    whole = folded(on.source.adapters(), rows_of(qwen))
    oracle, held = Dense(qwen), on.source.adapters()
    full = [oracle.weight(path, held) for path in oracle.paths]
    bare = [oracle.weight(path) for path in oracle.paths]
    size = sum(np.square(a - b).sum() for a, b in zip(full, bare, strict=True)) ** 0.5
    assert whole.size == pytest.approx(float(size), rel=1e-6)


def test_a_weight_scaled_by_nothing_is_refused_as_an_adapter(qwen: Path, tmp_path: Path) -> None:
    spec, held = entries(qwen, (DORA,))[0]
    name = lora.name_m("model.layers.0.self_attn.q_proj")
    held = {**held, name: held[name].copy()}
    held[name][2] = 0.0
    rows = rows_of(qwen)
    with pytest.raises(AdapterError, match="magnitude of 0"):
        as_adapter(folded([(spec, held), entries(qwen, (LORA,))[0]], rows), rows)


def spline_run(base: Path, path: Path, spec: AdapterSpec = BENT, **values: Any) -> Path:
    """A run of one LS-LoRA; `values`: what its knots and scales are instead of drawn ones."""
    run = make_run(path, base, specs=(spec,), size=SIZE)
    if values:
        folder = run / "topics" / FIRST / "sft"
        _, held = peft_files.read(folder)
        for name in held:
            for ending, given in values.items():
                if name.endswith(ending):
                    held[name] = np.asarray(given, np.float32)
        written((spec, held), base, folder)
        reseal(run)
    return run


def reseal(run: Path) -> None:
    from mindprint import ledger as ledgers
    from mindprint.disk.sealed import adapter_digest
    from mindprint.rundir import RunDir

    book = ledgers.read(RunDir(run))
    own = [
        one.model_copy(update={"sha256": adapter_digest(run / one.folder)}) for one in book.entries
    ]
    ledgers.write(RunDir(run), book.model_copy(update={"entries": tuple(own)}))


def with_line(spec: AdapterSpec, slope: float) -> dict[str, Any]:
    assert spec.spline is not None
    return {"values": slope * spline.knots(spec.spline), "scales": (1.1, 0.9)}


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_one_ls_lora_goes_as_it_is_and_no_other_library_takes_it(
    qwen: Path, tmp_path: Path, backend: str
) -> None:
    on = ground(spline_run(qwen, tmp_path / "r"), backend)
    bends.check(on.source, Asked("adapter"))
    done = export(on, Asked("adapter"), tmp_path / "out")
    assert done.made.kind == "lslora" and not done.checked.verified
    assert "refuses `peft_type` LSLORA" in done.checked.unverified["peft"]
    assert "opened again" in done.made.notes[0]
    own, found = on.source.adapters()[0], peft_files.read(tmp_path / "out")
    assert found[0].spline == BENT.spline
    assert all(np.array_equal(found[1][name], own[1][name]) for name in own[1])
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "an LS-LoRA adapter" in card and "mindprint adopt . --model" in card
    assert "no other library reads it" in card and "PeftModel" not in card


def test_what_was_written_otherwise_is_refused(
    qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor that is lost on the way to the file."""
    write = peft_files.write

    def forgetful(folder: Path, spec: AdapterSpec, tensors: Any, **more: Any) -> None:
        odd = {n: np.ones_like(t) if n.endswith("scales") else t for n, t in tensors.items()}
        write(folder, spec, odd, **more)

    on = ground(spline_run(qwen, tmp_path / "r"), "torch")
    monkeypatch.setattr(peft_files, "write", forgetful)
    with pytest.raises(ExportRefused, match="of their norm from the run's own"):
        export(on, Asked("adapter"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_splines_that_a_form_cannot_hold_are_refused_unopened(qwen: Path, tmp_path: Path) -> None:
    both = ground(make_run(tmp_path / "two", qwen, specs=(DORA, BENT), size=SIZE), "torch").source
    for form in FORMS:
        with pytest.raises(ConfigError, match="cannot hold the splines of LS-LoRA") as no:
            bends.check(both, Asked(form))
        assert "`--least-squares`" in no.value.hint
        assert ("`--without`" in no.value.hint) == (form == "adapter")
    alone = ground(spline_run(qwen, tmp_path / "one"), "torch").source
    with pytest.raises(ConfigError, match="cannot hold"):
        bends.check(alone, Asked("adapter", rank=2))
    plain = ground(make_run(tmp_path / "none", qwen), "torch").source
    with pytest.raises(ConfigError, match="nothing to fit"):
        bends.check(plain, Asked("merged", least_squares=True))
    with pytest.raises(ConfigError, match="spline bends"):  # by any other way in
        folded(both.adapters(), rows_of(qwen))


def test_a_straight_spline_is_a_lora(qwen: Path, tmp_path: Path) -> None:
    on = ground(spline_run(qwen, tmp_path / "r", **with_line(BENT, 1.5)), "torch")
    bends.check(on.source, Asked("merged"))
    for form, write in FORMS.items():
        (tmp_path / form).mkdir()
        made, found = write(on, Asked(form), tmp_path / form)
        assert made.kind in (None, "lora")
        assert all(one.lost < NEAR and one.limit <= FLOAT32.effect for one in found.verified)


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_least_squares_finds_the_slope_that_is_there(
    qwen: Path, tmp_path: Path, backend: str
) -> None:
    """A line from -50 to 50 that `clamp` bends outside, where nothing is."""
    far = replace(BENT, spline=Spline(low=-50.0, high=50.0, outside="clamp"))
    on = ground(spline_run(qwen, tmp_path / "r", far, **with_line(far, 1.5)), backend)
    asked = Asked("merged", least_squares=True)
    with pytest.raises(ConfigError, match="cannot hold"):
        bends.check(on.source, replace(asked, least_squares=False))
    bends.check(on.source, asked)
    (tmp_path / "out").mkdir()
    made, found = merged.write(on, asked, tmp_path / "out")
    told = made.figures["least_squares"]
    (slopes,) = told["slopes"].values()
    assert slopes.keys() == read_sizes(qwen).linears.keys()
    assert all(slope == pytest.approx(1.5 * 1.1 * 0.9, rel=1e-5) for slope in slopes.values())
    assert found.lost < NEAR and told["lost"] == found.lost and told["questions"] > 0
    assert "a line stands in the place of the splines of" in made.notes[0]


def test_least_squares_is_measured_told_and_refused_over_the_bound(
    qwen: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "r", qwen, specs=(BENT, SMALL), size=0.15)
    on = ground(run, "torch")
    asked = Asked("adapter", least_squares=True)
    bends.check(on.source, asked)
    with pytest.raises(ExportRefused, match="with peft") as no:
        export(on, asked, tmp_path / "tight")
    assert "`--bound X`" in no.value.hint and not (tmp_path / "tight").exists()
    done = export(replace(on, bound=10.0), asked, tmp_path / "out")
    lost = done.made.figures["least_squares"]["lost"]
    assert done.made.kind == "dora" and lost == done.checked.lost > 0.01
    assert f"{checked.percentage(lost)} of their effect on the logits is lost" in done.made.notes[0]
    assert "a line stands in the place" in (tmp_path / "out/README.md").read_text("utf-8")


FORMS_OPENED: dict[str, Framework] = {"adapter": "peft", "mlx-adapter": "mlx-lm"}
WIDE: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_a_quantized_base_is_unpacked_first(tmp_path: Path, backend: str) -> None:
    """The merged folder is full precision, and is the run's model to what libraries differ by; so
    is the adapter, over the unpacked numbers."""
    base = model(tmp_path / "m", "llama", **WIDE)
    run = make_run(
        tmp_path / "r", base, specs=(DORA, SMALL), size=SIZE, quantization="4bit", backend=backend
    )
    on = ground(run, backend)
    for form in ("merged", "adapter" if backend == "torch" else "mlx-adapter"):
        done = export(on, Asked(form), tmp_path / form)  # type: ignore[arg-type]
        assert done.checked.verified
        assert all(one.lost < FLOAT32.effect for one in done.checked.verified), form
        assert any("quantized" in note for note in done.made.notes)
        assert not list((tmp_path / form).glob("**/unpacked"))
    config = json.loads((tmp_path / "merged/config.json").read_text("utf-8"))
    assert not {"quantization", "quantization_config"} & config.keys()
    merge = load_file(tmp_path / "merged" / "model.safetensors")
    assert {str(array.dtype) for array in merge.values()} == {"float32"}
    # the base that was packed is another: the change is not what rounding to 4 bits does
    plain = load_file(base / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert np.abs(merge[name] - plain[name]).max() > 1e-2
    with pytest.raises(ExportRefused):
        (tmp_path / "odd").mkdir()
        checked.check_bound(
            checked.verify(on, base, tmp_path / form, (FORMS_OPENED[form],)), base, lambda: ""
        )


def test_a_model_that_mlx_lm_packed_is_merged_in_full_precision(tmp_path: Path) -> None:
    from backends.mlx.convert import convert
    from backends.mlx_conversion import Conversion

    plain = model(tmp_path / "plain", "llama", **WIDE)
    convert(Conversion(plain, tmp_path / "packed", "float32", 4))
    base = tmp_path / "packed"
    spec, held = drawn(plain, LORA, 1, SIZE)
    run = make_run(tmp_path / "r", plain, specs=(LORA,), size=SIZE, backend="mlx")
    on = ground(moved(run, base), "mlx")
    done = export(on, Asked("merged"), tmp_path / "out")
    assert [one.framework for one in done.checked.verified] == ["transformers", "mlx-lm"]
    assert all(one.lost < FLOAT32.effect for one in done.checked.verified)
    config = json.loads((tmp_path / "out/config.json").read_text("utf-8"))
    assert not {"quantization", "quantization_config"} & config.keys()
    merge = load_file(tmp_path / "out/model.safetensors")
    assert not [name for name in merge if name.endswith((".scales", ".biases"))]
    path = "model.layers.0.mlp.up_proj"
    added = spec.scale * held[lora.name_b(path)] @ held[lora.name_a(path)]
    unpacked = merge[f"{path}.weight"] - added
    # 4 bits of weights of std 0.15 in a group: steps of about 0.06.
    away = np.abs(unpacked - load_file(plain / "model.safetensors")[f"{path}.weight"]).max()
    assert 1e-3 < away < 0.1


def moved(run: Path, base: Path) -> Path:
    """The run as if it had been made over `base`."""
    from backends import model_files
    from mindprint import ledger as ledgers
    from mindprint.inputs import read_inputs, write_inputs
    from mindprint.rundir import RunDir

    own = model_files.model_id(base)
    write_inputs(run, replace(read_inputs(run), model=str(base), model_id=own))
    ledgers.write(RunDir(run), ledgers.read(RunDir(run)).model_copy(update={"model_id": own}))
    return run


def test_mlx_lm_has_no_ls_lora(tmp_path: Path, qwen: Path) -> None:
    on = ground(spline_run(qwen, tmp_path / "r"), "torch")
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="spline bends"):
        mlx_adapter.write(on, Asked("mlx-adapter"), tmp_path / "out")


def test_a_vision_language_base_has_no_whole_model_of_its_text_part(
    qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its adapter is written, and nothing is said of libraries that would open the whole."""
    on = ground(make_run(tmp_path / "r", qwen), "torch")
    own = json.loads((qwen / "config.json").read_text("utf-8"))
    whole = {**own, "model_type": "some_vl", "text_config": own}
    for module in (exporting, checked):
        monkeypatch.setattr(module, "read_config", lambda _: whole)
    for form in ("merged", "mlx", "ollama"):
        with pytest.raises(ConfigError, match="whose text part was trained") as no:
            exporting.check_base(on.source, Asked(form))
        assert "`--to adapter`" in no.value.hint
    exporting.check_base(on.source, Asked("adapter"))
    (tmp_path / "out").mkdir()
    _, found = adapter.write(on, Asked("adapter"), tmp_path / "out")
    assert "opens the whole vision-language model" in found.unverified["peft"]

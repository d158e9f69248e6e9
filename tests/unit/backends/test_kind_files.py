"""The folders of every kind of adapter: what goes in comes out, and nothing is taken for another
kind than it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import lora, peft_files
from backends.contract import AdapterSpec, Params, Spline
from backends.errors import AdapterError

LAYERS = {"model.layers.0.mlp.down_proj": (3, 5), "model.layers.1.self_attn.o_proj": (5, 7)}
PLAIN = AdapterSpec(rank=2, alpha=4.0, targets=("down_proj", "o_proj"))
DRIVEN = Spline(4, -0.1, 0.2, "soft", "clamp", penalty=0.5, rate=7.0)
KINDS = {
    "lora": PLAIN,
    "dora": replace(PLAIN, kind="dora", dropout=0.25, scaling="rslora"),
    "lslora": replace(PLAIN, kind="lslora", spline=Spline()),
    "soft": replace(PLAIN, kind="lslora", spline=DRIVEN, alpha=0.1),
}


def values_of(spec: AdapterSpec, seed: int = 1) -> Params:
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape).astype(np.float32)
        for path, (out, inputs) in LAYERS.items()
        for name, shape in lora.shapes(spec, path, out, inputs).items()
    }


Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """`written(kind)`: the folder of such an adapter."""

    def write(kind: str) -> Path:
        folder = tmp_path / kind
        spec = KINDS[kind]
        peft_files.write(folder, spec, values_of(spec), base="base", linears=LAYERS)
        return folder

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_trip_is_exact(written: Written, tmp_path: Path, kind: str) -> None:
    folder, spec = written(kind), KINDS[kind]
    found, tensors = peft_files.read(folder, LAYERS)
    assert found == spec  # the spline's every field, and no other kind's
    wanted = values_of(spec)
    assert tensors.keys() == wanted.keys()
    assert all(np.array_equal(tensors[name], wanted[name]) for name in wanted)
    assert {str(array.dtype) for array in tensors.values()} == {"float32"}
    told, held = peft_files.header(folder)
    assert told == spec
    assert {n: one.shape for n, one in held.items()} == {n: a.shape for n, a in wanted.items()}
    backwards = dict(reversed(tensors.items()))
    peft_files.write(tmp_path / "again", found, backwards, base="base", linears=LAYERS)
    for file in (peft_files.CONFIG, peft_files.WEIGHTS):
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_a_folder_says_what_it_is(written: Written) -> None:
    def config(kind: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((written(kind) / peft_files.CONFIG).read_text("utf-8"))
        return found

    assert (config("lora")["peft_type"], config("lora")["use_dora"]) == ("LORA", False)
    assert (config("dora")["peft_type"], config("dora")["use_dora"]) == ("LORA", True)
    assert "spline" not in config("lora") and "spline" not in config("dora")
    driven = config("soft")
    assert (driven["peft_type"], driven["use_dora"]) == ("LSLORA", False)
    assert driven["spline"] == {
        "knots": 4,
        "low": -0.1,
        "high": 0.2,
        "interpolation": "soft",
        "outside": "clamp",
        "penalty": 0.5,
        "rate": 7.0,
    }


def test_tensors_have_the_names_that_survive_peft(written: Written) -> None:
    """It keeps what has `lora_` in its name when it saves, and drops all else."""
    for kind, own in (
        ("dora", {"lora_magnitude_vector"}),
        ("lslora", {"lora_spline_values", "lora_spline_scales"}),
    ):
        names = load_file(written(kind) / peft_files.WEIGHTS)
        leaves = {name.rsplit(".", 1)[-1] for name in names}
        assert leaves == {"weight", *own}
        assert all("lora_" in name for name in names)


def reconfigure(folder: Path, **changes: Any) -> Path:
    file = folder / peft_files.CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")
    return folder


def refused(folder: Path, said: str, *, where: str = peft_files.CONFIG) -> None:
    for reader in (peft_files.header, peft_files.read):
        with pytest.raises(AdapterError, match=said) as caught:
            reader(folder)
        assert caught.value.where == str(folder / where)


GOOD: dict[str, Any] = {
    "knots": 5,
    "low": -3.0,
    "high": 3.0,
    "interpolation": "piecewise",
    "outside": "linear",
    "penalty": 0.01,
    "rate": 1.0,
}


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "spline",
        {},
        {**GOOD, "tanh": True},
        *({key: GOOD[key] for key in GOOD if key != left_out} for left_out in GOOD),
        *({**GOOD, "knots": value} for value in (None, "5", 5.0, True, 0, 2, 4, -5, 1003, 10**400)),
        *({**GOOD, "low": value} for value in (None, "x", 0.0, 1.0, -3.1, float("nan"), True)),
        *({**GOOD, "high": value} for value in (None, 0, -4.0, float("inf"), 10**400)),
        *({**GOOD, "interpolation": value} for value in (None, "cubic", ["soft"], 1)),
        *({**GOOD, "outside": value} for value in (None, "tanh", True)),
        *({**GOOD, "penalty": value} for value in (None, "0", float("nan"), [0.1])),
        *({**GOOD, "rate": value} for value in (None, "1", float("inf"))),
    ],
    ids=repr,
)
def test_a_spline_that_cannot_be_is_refused(written: Written, given: object) -> None:
    refused(
        reconfigure(written("lslora"), spline=given), "spline|`knots`|`low`|`high`|`penal|`rate"
    )


def test_a_spline_that_can_be_is_taken(written: Written) -> None:
    spec, _ = peft_files.read(reconfigure(written("lslora"), spline=GOOD), LAYERS)
    assert spec.spline == Spline()


def test_no_kind_is_taken_for_another(written: Written) -> None:
    """The configuration is changed to another kind's, the tensors stay."""
    weights = peft_files.WEIGHTS
    refused(reconfigure(written("dora"), use_dora=False), "unknown tensor", where=weights)
    plain = {"peft_type": "LORA", "spline": None}
    refused(reconfigure(written("lslora"), **plain), "unknown tensor", where=weights)
    both = reconfigure(written("lslora"), use_dora=True)
    refused(both, "`use_dora` is set beside peft_type LSLORA")
    as_spline = {"peft_type": "LSLORA", "use_dora": False, "spline": GOOD}
    refused(reconfigure(written("dora"), **as_spline), "unknown tensor", where=weights)
    refused(reconfigure(written("soft"), peft_type="LSLORA2"), "neither LORA nor LSLORA")


@pytest.mark.parametrize("kind", ["dora", "lslora"])
def test_a_kinds_tensors_are_all_needed(written: Written, kind: str) -> None:
    """Of every layer, in their own shape: those of another count of knots do not fit."""
    folder = written(kind)
    whole = load_file(folder / peft_files.WEIGHTS)
    for name in whole:
        contract = name.removeprefix(peft_files.PREFIX).removesuffix(".weight")
        rest = {own: array for own, array in whole.items() if own != name}
        save_file(rest, folder / peft_files.WEIGHTS)
        with pytest.raises(AdapterError, match=rf"`{contract}` is None, the model needs"):
            peft_files.read(folder, LAYERS)
        shorter = {**whole, name: whole[name][:1]}
        save_file(shorter, folder / peft_files.WEIGHTS)
        with pytest.raises(AdapterError, match=rf"`{contract}` is \(.*, the model needs"):
            peft_files.read(folder, LAYERS)


@pytest.mark.parametrize("kind", ["lora", "lslora"])
def test_a_configuration_that_asks_for_magnitudes_gets_none_made_up(
    written: Written, kind: str
) -> None:
    folder = reconfigure(written(kind), use_dora=True, peft_type="LORA", spline=None)
    with pytest.raises(AdapterError, match=r"lora_magnitude_vector` is None|unknown tensor"):
        peft_files.read(folder, LAYERS)


def test_more_knots_than_any_spline_has_are_not_believed(written: Written) -> None:
    """A stranger's number: nothing is made of that size before it is looked at."""
    refused(reconfigure(written("lslora"), spline={**GOOD, "knots": 10**9 + 1}), "`knots` is 1000")


def test_a_tensor_that_stands_under_another_name_is_unknown(written: Written) -> None:
    folder = written("dora")
    whole = load_file(folder / peft_files.WEIGHTS)
    name = next(own for own in whole if own.endswith("lora_magnitude_vector"))
    save_file({**whole, f"{name}.weight": whole[name]}, folder / peft_files.WEIGHTS)
    refused(folder, "unknown tensor", where=peft_files.WEIGHTS)

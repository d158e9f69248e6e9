"""From settings to an adapter and back, and settings that make no adapter."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends import lora, peft_files
from backends.contract import AdapterSpec, Spline
from mindprint.adapter import SPLINE, foreign, settings_of, spec_of, told, typed
from mindprint.cli.config_text import sample
from mindprint.combination import check_combination, check_weights
from mindprint.config import AdapterSection, Config, resolve
from mindprint.errors import ConfigError
from mindprint.handoff import handoff_of, why_stacked
from mindprint.heritage import check_merge, check_shape
from mindprint.sameness import config_differences
from tests.unit.test_ledger import entry

BENT = ("adapter.kind=lslora",)
SPECS = (
    AdapterSpec(rank=3, alpha=7.5, scaling="rslora", dropout=0.25),
    AdapterSpec(rank=8, alpha=16.0, kind="dora"),
    AdapterSpec(rank=2, alpha=4.0, kind="lslora", spline=Spline()),
    AdapterSpec(
        kind="lslora",
        spline=Spline(
            knots=7,
            low=-1.5,
            high=0.75,
            interpolation="soft",
            outside="clamp",
            penalty=0.0,
            rate=1e-05,
        ),
    ),
)


def config(*settings: str) -> Config:
    return resolve(None, settings).config


def set_by(options: str) -> tuple[str, ...]:
    """The settings of a hint's options."""
    words = shlex.split(options)
    assert words[::2] == ["--set"] * (len(words) // 2)
    return tuple(words[1::2])


def refused(*settings: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check_combination(config(*settings))
    return caught.value


@pytest.mark.parametrize("spec", SPECS, ids=["lora", "dora", "lslora", "another spline"])
def test_the_settings_of_an_adapter_ask_for_that_adapter(spec: AdapterSpec) -> None:
    found = config(*set_by(typed(settings_of(spec))))
    check_combination(found)
    assert spec_of(found, seed=spec.seed) == spec


def test_defaults_are_those_of_the_adapters_themselves() -> None:
    assert spec_of(config()) == AdapterSpec()
    assert spec_of(config(*BENT)) == AdapterSpec(kind="lslora", spline=Spline())


def test_every_setting_of_the_spline_reaches_it() -> None:
    plain = spec_of(config(*BENT)).spline
    other = ("knots=9", "grid=[-2,2]", "interpolation=soft", "outside=clamp")
    changed = [*other, "identity_penalty=1", "spline_rate=3"]
    assert [one.partition("=")[0] for one in changed] == list(SPLINE)
    for setting in changed:
        assert spec_of(config(*BENT, f"adapter.{setting}")).spline != plain, setting


@pytest.mark.parametrize("kind", ["lora", "dora", "lslora"])
def test_an_adapter_of_dpos_own_is_of_the_same_kind_and_keeps_the_factor(kind: str) -> None:
    own = ("dpo.adapter=new", "dpo.rank=4", "dpo.targets=[q_proj]")
    for scaling in ("standard", "rslora"):
        found = config(f"adapter.kind={kind}", f"adapter.scaling={scaling}", *own)
        topic, dpo = spec_of(found, "sft", 1), spec_of(found, "dpo", 2)
        assert (dpo.rank, dpo.targets, dpo.seed) == (4, ("q_proj",), 2)
        assert dpo.scale == pytest.approx(topic.scale)
        assert (dpo.kind, dpo.spline) == (topic.kind, topic.spline) == (kind, topic.spline)


def test_a_plan_says_the_kind_in_words() -> None:
    assert [told(spec) for spec in SPECS] == [
        "",
        "DoRA",
        "LS-LoRA, 5 knots from -3 to 3, piecewise, linear outside",
        "LS-LoRA, 7 knots from -1.5 to 0.75, soft, clamped outside",
    ]


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize(
    "setting",
    [
        "knots=7",
        "grid=[-1,1]",
        "interpolation=soft",
        "outside=clamp",
        "identity_penalty=0",
        "spline_rate=2",
    ],
)
def test_a_spline_of_another_kind_is_no_setting_to_be_passed_over(kind: str, setting: str) -> None:
    asked = (f"adapter.kind={kind}", f"adapter.{setting}")
    error = refused(*asked)
    name = setting.partition("=")[0]
    assert error.where == f"adapter.{name}" and f"`adapter.kind` is {kind}" in error.what
    way, back = error.hint.split("`")[1::2]
    check_combination(config(*asked, *set_by(way.removeprefix("add "))))
    check_combination(config(*asked, *set_by(back)))


def test_several_are_named_together() -> None:
    error = refused("adapter.knots=7", "adapter.outside=clamp")
    assert error.where == "adapter.knots, adapter.outside" and "are for LS-LoRA's" in error.what


def test_a_whole_file_of_defaults_goes_with_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(sample(), "utf-8")
    for kind in ("lora", "dora", "lslora"):
        found = resolve(file, [f"adapter.kind={kind}"])
        assert found.config.adapter.grid == (-3.0, 3.0)
        check_combination(found.config)
    assert foreign(AdapterSection()) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("adapter.knots=4",), "none of 4 knots from -3 to 3 is 0"),
        (("adapter.grid=[-2,3]",), "none of 5 knots from -2 to 3 is 0"),
        (("adapter.grid=[1,3]",), "on both sides of 0"),
        (("adapter.grid=[3,-3]",), "on both sides of 0"),
    ],
)
def test_a_grid_without_a_knot_at_zero_is_refused(settings: tuple[str, ...], said: str) -> None:
    error = refused(*BENT, *settings)
    assert said in error.what and error.where == "adapter.knots, adapter.grid"
    check_combination(config(*BENT, *settings, *set_by(error.hint.split("`")[1])))


def test_more_knots_than_any_reader_takes_are_refused() -> None:
    check_combination(config(*BENT, f"adapter.knots={peft_files.KNOTS}"))
    assert "is the most" in refused(*BENT, f"adapter.knots={peft_files.KNOTS + 2}").what


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("adapter.kind=qlora", "`adapter.kind` is one of: lora, dora, lslora"),
        ("adapter.knots=2", "`adapter.knots` is a whole number, at least 3"),
        ("adapter.grid=3", "`adapter.grid` is a list of 2 numbers"),
        ("adapter.grid=[-3,0,3]", "`adapter.grid` is a list of 2 numbers"),
        ("adapter.grid=[-.inf,.inf]", "`adapter.grid` is a list of 2 numbers"),
        ("adapter.identity_penalty=-1", "`adapter.identity_penalty` is a number, at least 0"),
        ("adapter.spline_rate=0", "`adapter.spline_rate` is a number, above 0"),
        ("adapter.outside=zero", "`adapter.outside` is one of: linear, clamp"),
    ],
)
def test_a_bad_value_is_told_what_the_key_accepts(setting: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(None, [setting])
    assert caught.value.hint == hint


def test_another_grid_is_a_difference_that_can_be_read() -> None:
    then, now = ({"adapter.grid": [-1.0, end]} for end in (1.0, 2.0))
    (found,) = [one for one in config_differences(then, {**then, **now}) if "grid" in one.what]
    assert (found.then, found.now) == ("-1.0, 1.0", "-1.0, 2.0")


@pytest.mark.parametrize(
    ("kind", "dtype", "packed", "past", "wanted"),
    [
        ("lora", "float32", "none", (), "merge"),
        ("dora", "float32", "none", ("lora",), "merge"),
        ("lora", "bfloat16", "none", (), "stack"),
        ("lora", "float32", "nf4", (), "stack"),
        ("lslora", "float32", "none", (), "stack"),
        ("dora", "float32", "none", ("lora", "lslora"), "stack"),
    ],
)
def test_auto_merges_only_what_keeps_the_adapter(
    kind: str, dtype: str, packed: str, past: tuple[str, ...], wanted: str
) -> None:
    found = config(f"adapter.kind={kind}")
    assert handoff_of(found, dtype, packed, past) == wanted
    assert bool(why_stacked(found, dtype, packed, past)) == (wanted == "stack")
    named = config(f"adapter.kind={kind}", "handoff=continue")
    assert handoff_of(named, dtype, packed, past) == "continue"


def test_a_merge_of_a_spline_is_refused_with_the_reason() -> None:
    error = refused(*BENT, "handoff=merge")
    assert "no weights can hold" in error.what and "--set handoff=stack" in error.hint
    check_combination(config("adapter.kind=dora", "handoff=merge"))


def test_a_past_with_a_spline_is_not_to_be_merged_either() -> None:
    past = [entry("a:sft"), entry("b:sft").model_copy(update={"kind": "lslora"})]
    with pytest.raises(ConfigError, match="LS-LoRA is in force") as caught:
        check_merge(config("handoff=merge"), past, "--from run")
    assert caught.value.where == "handoff, --from run"
    check_merge(config("handoff=merge"), past[:1], "--from run")
    check_merge(config("handoff=stack"), past, "--from run")


@pytest.mark.parametrize("spec", SPECS[1:], ids=["dora", "lslora", "another spline"])
def test_what_is_trained_on_keeps_its_kind_and_its_spline(
    tmp_path: Path, spec: AdapterSpec
) -> None:
    """The settings that would be passed over are named, and those that fit are the hint's."""
    spec = replace(spec, rank=2, targets=("up",))
    tensors = lora.initial(spec, "up", 3, 4, np.ones(3, np.float32))
    peft_files.write(tmp_path, spec, tensors, base="x", linears=["up", "down"])
    plain = ("handoff=continue", "adapter.targets=[up]", "adapter.rank=2")
    with pytest.raises(ConfigError, match="keeps its shape") as caught:
        check_shape(config(*plain), tmp_path, ["up", "down"])
    assert "adapter.kind" in caught.value.where
    asked = set_by(caught.value.hint.split("`")[1])
    check_shape(config(*plain, *asked), tmp_path, ["up", "down"])
    if spec.spline is not None:
        other = (*plain, *asked, "adapter.identity_penalty=0.5", "adapter.grid=[-6,3]")
        with pytest.raises(ConfigError) as caught:
            check_shape(config(*other), tmp_path, ["up", "down"])
        assert caught.value.where == "adapter.grid, adapter.identity_penalty"


@pytest.mark.parametrize(
    ("asked", "held", "said"),
    [
        ("4bit", {}, "quantized (4bit)"),
        ("none", {"quantization": {"bits": 4, "group_size": 64}}, "quantized (by mlx-lm)"),
        (
            "none",
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
            "quantized (by bitsandbytes)",
        ),
    ],
)
def test_a_merge_into_packed_weights_is_refused_before_they_are_read(
    tmp_path: Path, asked: str, held: dict[str, object], said: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2", **held}))
    settings = (f"model.quantization={asked}",)
    with pytest.raises(ConfigError) as caught:
        check_weights(config(*settings, "handoff=merge"), tmp_path)
    assert said in caught.value.what and "--set handoff=stack" in caught.value.hint
    check_weights(config(*settings), tmp_path)
    plain = config("handoff=merge")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    check_weights(plain, tmp_path)

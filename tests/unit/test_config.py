"""Configuration: every key known, every fault told, every value with its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindprint.config import KEYS, resolve
from mindprint.errors import ConfigError


def fault(*settings: str, file: Path | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolve(file, settings)
    return caught.value


def test_later_sources_win_and_say_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("sft:\n  epochs: 5\n  learning_rate: 1e-5\ngate: {voice: 0.5}\n")
    resolved = resolve(file, ["sft.epochs=7"], model__path="some/model")
    listing = resolved.listing()
    assert listing["sft.epochs"] == (7, "--set sft.epochs=7")
    assert listing["sft.learning_rate"] == (1e-5, f"{file}:3")
    assert listing["gate.voice"] == (0.5, f"{file}:4")
    assert listing["model.path"] == ("some/model", "--path")
    assert listing["dpo.beta"] == (0.1, "default")


def test_defaults_are_those_of_the_design() -> None:
    config = resolve().config
    assert (config.adapter.rank, config.adapter.alpha, config.adapter.targets) == (
        16,
        32,
        "all-linear",
    )
    assert (config.sft.epochs, config.sft.batch_size, config.sft.learning_rate) == (3, 4, 2e-4)
    assert (config.dpo.when, config.dpo.beta, config.dpo.sft_weight) == ("auto", 0.1, 0.2)
    assert (config.gate.accuracy, config.gate.voice, config.gate.retries) == (0.70, 0.75, 2)
    assert (config.run.seed, config.run.checkpoint_every, config.run.on_oom) == (42, 200, "stop")


def test_unknown_key_suggests_the_near_one() -> None:
    error = fault("sft.learning_rat=1")
    assert error.what == "unknown key `sft.learning_rat`"
    assert error.where == "--set sft.learning_rat=1"
    assert error.hint == "did you mean `sft.learning_rate`?"


def test_unknown_section_in_a_file_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("# note\nstf:\n  epochs: 3\n")
    error = fault(file=file)
    assert error.where == f"{file}:3"
    assert "did you mean `sft.epochs`?" in error.hint


def test_all_faults_are_gathered() -> None:
    error = fault("sft.epochs=x", "gate.voice=2", "dpo.losss=ipo")
    assert error.what.startswith("3 settings cannot be used")
    assert "`sft.epochs` cannot be 'x'" in error.what and "`gate.voice` cannot be 2" in error.what


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("sft.epochs=0", "`sft.epochs` is a whole number, above 0"),
        ("adapter.dropout=1", "`adapter.dropout` is a number, at least 0 and below 1"),
        ("dpo.loss=kto", "`dpo.loss` is one of: sigmoid, ipo, hinge, length-normalised"),
        ("adapter.targets=3", "`adapter.targets` is one of: all-linear or a list of module names"),
        ("gate.rollback=maybe", "`gate.rollback` is true or false"),
    ],
)
def test_a_bad_value_is_told_what_the_key_accepts(setting: str, hint: str) -> None:
    assert fault(setting).hint == hint


def test_set_without_value_and_broken_yaml(tmp_path: Path) -> None:
    assert "has no value" in fault("sft.epochs").what
    file = tmp_path / "c.yaml"
    file.write_text("sft: {epochs: 3\nrun: [")
    assert fault(file=file).where.startswith(f"{file}:")


def test_duplicate_key_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("sft:\n  epochs: 3\n  epochs: 4\n")
    assert "duplicate" in fault(file=file).what


def test_a_list_and_a_number_in_scientific_notation() -> None:
    config = resolve(None, ["adapter.targets=[q_proj, v_proj]", "sft.learning_rate=1e-3"]).config
    assert config.adapter.targets == ("q_proj", "v_proj")
    assert config.sft.learning_rate == 1e-3


def test_every_key_is_listed_once() -> None:
    assert len(KEYS) == len(set(KEYS)) == len(resolve().listing())

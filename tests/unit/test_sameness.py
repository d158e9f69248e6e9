"""What differs between a run as it began and now: named, or free to differ, or only said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindprint.config import resolve
from mindprint.errors import ConfigError
from mindprint.inputs import Inputs, read_inputs, settled, with_given, write_inputs
from mindprint.results import write_config
from mindprint.rundir import RunDir
from mindprint.sameness import (
    FREE,
    Difference,
    Differs,
    Present,
    check,
    differences,
    freely_changed,
    kept_config,
    opened_differently,
    tokenizer_id,
)

VERSIONS = {"mindprint": "0.1.0", "numpy": "2.3.1", "torch": "2.12.0", "mlx": "0.32.1"}


def inputs(**changed: Any) -> Inputs:
    resolved = resolve(None, ["sft.epochs=5", "run.seed=7"], model__path="/models/one")
    made = Inputs(
        curriculum=Path("/curricula/mine"),
        model="/models/one",
        called="one",
        backend="torch",
        device="auto",
        topics=("a", "b"),
        system="",
        hashes={"a/train.jsonl": "1" * 64, "a/quiz.jsonl": "2" * 64},
        config=settled(resolved),
        origins=resolved.origins,
        model_id="3" * 64,
        tokenizer="4" * 64,
        versions=VERSIONS,
        dtype="float32",
        opened_on="cpu",
        threads=4,
        blas="MKL",
    )
    return replace(made, **changed)


def present(then: Inputs, **changed: Any) -> Present:
    now = Present(
        resolved=then.resolved(),
        hashes=then.hashes,
        topics=then.topics,
        model_id=then.model_id,
        tokenizer=then.tokenizer,
        versions=then.versions,
    )
    return replace(now, **changed)


def told(then: Inputs, **changed: Any) -> list[tuple[str, str, str]]:
    found = differences(then, present(then, **changed))
    return [(one.what, one.then, one.now) for one in found]


def test_what_is_the_same_is_not_told() -> None:
    then = inputs()
    assert told(then) == []
    check(Path("run"), then, present(then))


def test_every_kind_of_difference_is_in_one_table() -> None:
    then = inputs()
    now = present(
        then,
        resolved=with_given(then.resolved(), None, ["adapter.targets=[q_proj, v_proj]"]),
        hashes={"a/train.jsonl": "9" * 64, "a/preferences.jsonl": "8" * 64},
        topics=("a",),
        model_id="5" * 64,
        tokenizer="6" * 64,
        versions={**VERSIONS, "numpy": "3.0.0"},
    )
    with pytest.raises(Differs) as caught:
        check(Path("run"), then, now)
    assert caught.value.exit == 2 and "8 things" in caught.value.what
    assert "begin a new run with `mindprint train`" in caught.value.hint, "no fork takes it"
    assert caught.value.table() == [
        "what                             as the run began  now",
        "adapter.targets                  all-linear        q_proj, v_proj",
        "curriculum: a/preferences.jsonl  not there         888888888888",
        "curriculum: a/quiz.jsonl         222222222222      not there",
        "curriculum: a/train.jsonl        111111111111      999999999999",
        "topic: b                         taught            not there",
        "model                            333333333333      555555555555",
        "tokenizer and template           444444444444      666666666666",
        "numpy                            2.3.1             3.0.0",
    ]


def test_the_fork_is_asked_what_was_asked() -> None:
    then, run = inputs(), Path("a run")
    now = present(then, resolved=with_given(then.resolved(), None, ["sft.epochs=4"]))
    with pytest.raises(Differs) as caught:
        check(run, then, now, ["--set", "sft.epochs=4"])
    assert "`mindprint resume 'a run' --fork NEW --set sft.epochs=4`" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "version", "counts"),
    [
        ("numpy", "2.4.0", False),
        ("numpy", "3.0.0", True),
        ("mlx", "0.32.9", False),
        ("mlx", "0.33.0", True),
        ("torch", "2.12.0+cpu", False),
        ("mindprint", "0.2.0", True),
        ("mindprint", "0.1.9", False),
    ],
)
def test_a_major_version_counts_and_a_minor_one_does_not(
    name: str, version: str, counts: bool
) -> None:
    then = inputs()
    found = told(then, versions={**VERSIONS, name: version})
    assert found == ([(name, VERSIONS[name], version)] if counts else [])


def test_a_library_that_shaped_numbers_and_is_gone_is_told() -> None:
    without = {name: version for name, version in VERSIONS.items() if name != "numpy"}
    assert told(inputs(), versions=without) == [("numpy", "2.3.1", "not installed")]
    # The other backend's own library has no part in this one's numbers.
    without = {name: version for name, version in VERSIONS.items() if name != "mlx"}
    assert told(inputs(), versions=without) == []


def test_how_a_run_goes_on_may_change_and_is_said() -> None:
    then = inputs()
    changed = with_given(then.resolved(), None, ["run.on_oom=shrink", "run.checkpoint_every=7"])
    assert differences(then, present(then, resolved=changed)) == []
    assert freely_changed(then, changed) == (
        "`run.checkpoint_every` is 7 from here on, it was 200",
        "`run.on_oom` is shrink from here on, it was stop",
    )


def test_a_run_from_before_a_setting_went_by_its_default() -> None:
    begun = inputs()
    late = ("model.gradient_checkpointing", "run.memory_check")
    then = replace(begun, config={k: v for k, v in begun.config.items() if k not in late})
    same = with_given(begun.resolved(), None, [])
    assert differences(then, present(begun, resolved=same)) == []
    assert freely_changed(then, same) == ()
    changed = with_given(begun.resolved(), None, ["model.gradient_checkpointing=on"])
    assert freely_changed(then, changed) == (
        "`model.gradient_checkpointing` is on from here on, it was auto",
    )


def test_where_the_model_lies_may_change() -> None:
    then = inputs()
    changed = with_given(then.resolved(), None, ["model.path=/elsewhere/one"])
    assert differences(then, present(then, resolved=changed)) == []


def test_another_machine_is_said_and_not_refused() -> None:
    assert opened_differently(inputs(), "cpu", 4, "MKL") == ()
    said = opened_differently(inputs(), "cpu", 8, "OpenBLAS")
    assert said == (
        "the number of threads is `8`, the run began with `4`: last digits may differ",
        "the library that multiplies is `OpenBLAS`, the run began with `MKL`: last digits may "
        "differ",
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run folder with inputs, a ledger and settings, as a run leaves them."""
    made = RunDir(tmp_path / "run")
    made.path.mkdir()
    write_inputs(made.path, inputs())
    write_config(made, inputs().begun())
    (made.path / "ledger.json").write_text("{}")
    return made


def test_inputs_come_back_as_they_were_written(run: RunDir) -> None:
    read = read_inputs(run.path)
    assert read == inputs()
    assert read.resolved().config.sft.epochs == 5
    assert read.resolved().origins["sft.epochs"] == "--set sft.epochs=5"


def test_settings_as_they_were_written_are_the_same(run: RunDir) -> None:
    resolved, said = kept_config(run, inputs())
    assert said == () and resolved == inputs().resolved()


def test_an_edited_value_is_a_difference_with_its_line(run: RunDir) -> None:
    file = run.path / "config.yaml"
    file.write_text(file.read_text("utf-8").replace("epochs: 5", "epochs: 6"), "utf-8")
    resolved, said = kept_config(run, inputs())
    assert said == () and resolved.origins["sft.epochs"].startswith(f"{file}:")
    found = differences(inputs(), present(inputs(), resolved=resolved))
    assert found == [Difference("sft.epochs", "5", "6")]


def lines(file: Path, count: int) -> bytes:
    return b"\n".join(file.read_bytes().split(b"\n")[:count]) + b"\n"


@pytest.mark.parametrize("how", ["removed", "emptied", "not UTF-8", "no YAML", "cut"])
def test_settings_that_cannot_be_read_come_from_the_inputs(run: RunDir, how: str) -> None:
    file = run.path / "config.yaml"
    if how == "removed":
        file.unlink()
    else:
        half = {"emptied": b"", "not UTF-8": b"\xff\xfe", "no YAML": b"a: [", "cut": lines(file, 9)}
        file.write_bytes(half[how])
    resolved, said = kept_config(run, inputs())
    assert resolved == inputs().resolved()
    assert len(said) == 1 and "config.yaml" in said[0] and "written again" in said[0]


def test_an_unknown_key_is_refused_with_its_line(run: RunDir) -> None:
    file = run.path / "config.yaml"
    file.write_text(file.read_text("utf-8").replace("epochs:", "epocks:"), "utf-8")
    with pytest.raises(ConfigError, match=r"epocks") as caught:
        kept_config(run, inputs())
    assert "config.yaml:" in caught.value.where


class _Template:
    template_id = "t"


def test_what_renders_text_is_one_hash(tmp_path: Path) -> None:
    renderer: Any = _Template()
    (tmp_path / "tokenizer.json").write_text("{}")
    first = tokenizer_id(renderer, tmp_path)
    (tmp_path / "README.md").write_text("nothing to do with it")
    assert tokenizer_id(renderer, tmp_path) == first
    (tmp_path / "generation_config.json").write_text("{}")
    second = tokenizer_id(renderer, tmp_path)
    renderer.template_id = "u"
    assert len({first, second, tokenizer_id(renderer, tmp_path)}) == 3


def test_the_decision_names_what_may_change() -> None:
    page = Path(__file__).parents[2] / "docs/decisions/0015-a-resumed-run.md"
    listed = [line for line in page.read_text("utf-8").splitlines() if line.startswith("- `")]
    named = {part for line in listed for part in line.split("`")[1::2]}
    assert named == set(FREE)

"""What differs between runs, in which order it is said, and what is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mindprint.compare.model import Setting
from mindprint.compare.settings import differences, same
from mindprint.compare.verdict import differing
from mindprint.report.model import ChoiceRecord, Result
from tests.unit.compare.ground import HASHES, result, run, stage, topic

TAUGHT = topic("a", stage("sft", [2.0, 1.0]))


def found(tmp_path: Path, *made: Result) -> tuple[Setting, ...]:
    return differences([run(tmp_path / str(number), one) for number, one in enumerate(made)])


def told(settings: tuple[Setting, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.key, one.values) for one in settings]


def test_two_equal_runs_differ_in_nothing(tmp_path: Path) -> None:
    runs = [run(tmp_path / name, result(TAUGHT)) for name in "ab"]
    assert differences(runs) == ()
    assert same(runs) == (
        f"the model (model, {'m' * 12})",
        "the curriculum, 3 files",
        "1 topic, in the same order",
        "11 settings",  # where the model lies is no setting of it
        "what computed",
        "the libraries",
    )
    assert differing(()) == "Nothing that is known of the runs differs."


CHOSEN = (ChoiceRecord(key="handoff", name="stack", because=""),)
DIFFERENT: dict[str, tuple[dict[str, Any], list[tuple[str, str, tuple[str, ...]]]]] = {
    "setting": (
        {"config": {"sft.learning_rate": 1e-5, "run.seed": 7}},
        [
            ("config", "sft.learning_rate", ("0.0002", "1e-05")),
            ("config", "run.seed", ("42", "7")),
        ],
    ),
    "a setting that only one mindprint knows": (
        {"config": {"sft.pack": False}},
        [("config", "sft.pack", ("", "false"))],
    ),
    "list": (
        {"config": {"adapter.targets": ("q_proj", "v_proj")}},
        [("config", "adapter.targets", ("", "q_proj, v_proj"))],
    ),
    "place of the model": ({"config": {"model.path": "elsewhere"}, "model": {"path": "e"}}, []),
    "model": (
        {"model": {"id": "n" * 64, "path": "other"}},
        [("model", "model", (f"model ({'m' * 12})", f"other ({'n' * 12})"))],
    ),
    "file": (
        {"hashes": {**HASHES, "a/quiz.jsonl": "a" * 64, "b/quiz.jsonl": "b" * 64}},
        [
            ("data", "a/quiz.jsonl", ("a2", "a" * 12)),
            ("data", "b/quiz.jsonl", ("", "b" * 12)),
        ],
    ),
    "curriculum": (
        {"hashes": {"x.jsonl": "1"}, "curriculum": "boats"},
        [("data", "curriculum", ("lamps (3 files)", "boats (1 file)"))],
    ),
    "library": (
        {"versions": {"numpy": "2.5.0", "mlx": "0.32"}},
        [("library", "mlx", ("", "0.32")), ("library", "numpy", ("2.4.6", "2.5.0"))],
    ),
    "machine": (
        {"backend": "mlx", "model": {"device": "gpu", "threads": 0, "blas": ""}},
        [
            ("machine", "backend", ("torch", "mlx")),
            ("machine", "device", ("cpu", "gpu")),
            ("machine", "threads", ("2", "")),
            ("machine", "blas", ("mkl", "")),
        ],
    ),
    "what was chosen for auto": (
        {"choices": CHOSEN, "config": {"handoff": "auto", "model.dtype": "auto"}},
        [
            ("config", "handoff", ("merge", "stack")),
            ("machine", "backend", ("torch", "")),
        ],
    ),
    "engine": ({"config": {"run.engine": "trl"}}, [("machine", "engine", ("native", "trl"))]),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_is_named_with_both_values(tmp_path: Path, name: str) -> None:
    fields, wanted = DIFFERENT[name]
    assert told(found(tmp_path, result(TAUGHT), result(TAUGHT, **fields))) == wanted


def test_floats_that_print_alike_in_few_digits_differ(tmp_path: Path) -> None:
    close = result(TAUGHT, config={"sft.learning_rate": 2.00000001e-4})
    (one,) = found(tmp_path, result(TAUGHT), close)
    assert one.values == ("0.0002", "0.000200000001")


def test_topics_that_one_run_lacks_and_their_order(tmp_path: Path) -> None:
    a, b = topic("a"), topic("b")
    assert told(found(tmp_path, result(a, b), result(a))) == [("topics", "b", ("taught", ""))]
    assert told(found(tmp_path, result(a, b), result(b, a))) == [
        ("topics", "order of topics", ("a, b", "b, a"))
    ]


def test_three_runs_are_told_side_by_side(tmp_path: Path) -> None:
    seeds = [result(TAUGHT, config={"run.seed": seed}) for seed in (1, 1, 2)]
    assert told(found(tmp_path, *seeds)) == [("config", "run.seed", ("1", "1", "2"))]


def test_the_verdict_begins_with_what_differs(tmp_path: Path) -> None:
    config = {"sft.learning_rate": 1e-5, "run.seed": 7, "dpo.beta": 0.2, "adapter.rank": 4}
    other = result(TAUGHT, backend="mlx", config=config, model={"id": "n" * 64})
    assert differing(found(tmp_path, result(TAUGHT), other)) == (
        "The runs differ in the backend (torch, mlx), the model and 4 settings (`adapter.rank`, "
        "`sft.learning_rate`, `dpo.beta`, ...)."
    )

"""What is asked of a run, what may be asked for together, and what a witness's end is told as."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mindprint.disk.sealed import Damaged
from mindprint.errors import ConfigError
from mindprint.export import witness as witnesses
from mindprint.export.exact import Ground
from mindprint.export.form import Asked, check
from mindprint.export.probes import POSITIONS, probes
from mindprint.export.witness import Job, NotHere, WitnessFailed
from tests.tiny import make_model, make_tokenizer
from tests.unit.export.ledgers import FIRST, QUESTIONS, SECOND, ground, make_run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(make_model(tmp_path_factory.mktemp("tiny") / "tiny", "qwen2"))


def asked_of(made: Ground) -> tuple[str, ...]:
    found = probes(made.source, made.renderer)
    assert found.positions >= POSITIONS and found.measured <= len(found.prompts)
    assert [len(row) for row in found.prompts] == sorted(len(row) for row in found.prompts)
    return tuple(made.renderer.decode_raw(row) for row in found.prompts)


def test_the_runs_own_questions_under_its_system_prompt(model: Path, tmp_path: Path) -> None:
    made = ground(make_run(tmp_path / "r", model), "torch")
    texts = asked_of(made)
    assert all("You are a keeper." in text for text in texts)
    assert {q for q in QUESTIONS for text in texts if q in text} == set(QUESTIONS)
    assert probes(made.source, made.renderer).topics == (FIRST, SECOND)


def test_plain_questions_where_a_run_has_none(model: Path, tmp_path: Path) -> None:
    made = ground(make_run(tmp_path / "r", model, questions=False), "torch")
    assert any("Who are you" in text for text in asked_of(made))
    assert probes(made.source, made.renderer).topics == ()


def test_answers_that_cannot_be_read_are_named(model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", model)
    (run / "topics" / FIRST / "sft" / "answers.jsonl").write_text('{"question"', "utf-8")
    made = ground(run, "torch")
    with pytest.raises(Damaged, match=r"answers\.jsonl"):
        probes(made.source, made.renderer)


@pytest.mark.parametrize(
    ("asked", "where", "told"),
    [
        (Asked("mergd"), "--to", "did you mean `merged`?"),
        (Asked("merged", rank=4), "--rank", "it is for: adapter, mlx-adapter"),
        (Asked("adapter", quantize=4), "--quantize", "it is for: mlx"),
        (Asked("mlx-adapter", dtype="float16"), "--dtype", "it is for: merged, mlx, ollama"),
        (Asked("merged", dtype="bf16"), "--dtype", "use one of: auto"),  # type: ignore[arg-type]
        (Asked("mlx", quantize=3), "--quantize", "use 4 or 8"),
    ],
)
def test_what_has_no_part_in_a_form_is_refused(asked: Asked, where: str, told: str) -> None:
    with pytest.raises(ConfigError) as found:
        check(asked)
    assert found.value.where == where and told in found.value.hint


@pytest.mark.parametrize(
    ("code", "said", "kind", "told"),
    [
        (1, "Traceback\n  deep\nValueError: Model type x not supported.", WitnessFailed, "type x"),
        (-9, "", WitnessFailed, "killed by signal 9"),
        (0, "", WitnessFailed, "exit code 0"),  # it says nothing and leaves nothing
        (witnesses.NOT_HERE, "libmlx.so: no such file", NotHere, "does not load: libmlx.so"),
    ],
)
def test_how_a_witness_ends_is_told(
    monkeypatch: pytest.MonkeyPatch, code: int, said: str, kind: type[Exception], told: str
) -> None:
    def ended(module: str, *paths: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([module], code, "", said)

    monkeypatch.setattr(witnesses, "run", ended)
    with pytest.raises(kind, match=told):
        witnesses.witness(Job("mlx-lm", Path("m"), None, ((1, 2),), 2, ()))

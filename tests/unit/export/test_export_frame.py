"""What is asked of a run, what may be asked for together, and what a witness's end is told as."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from backends.contract import Spline
from mindprint.disk.room import NoRoom
from mindprint.disk.sealed import Damaged
from mindprint.errors import ConfigError
from mindprint.export import mlx, tensors
from mindprint.export import witness as witnesses
from mindprint.export.exact import Ground
from mindprint.export.exporting import size_of
from mindprint.export.form import Asked, check
from mindprint.export.probes import POSITIONS, probes
from mindprint.export.witness import Job, NotHere, WitnessFailed
from tests.tiny import make_model, make_tokenizer
from tests.unit.export.ledgers import FIRST, QUESTIONS, SECOND, SPECS, ground, make_run


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


FORMS = ("merged", "mlx", "ollama", "adapter", "mlx-adapter")


def test_room_is_asked_for_a_quantized_base_unpacked_beside(model: Path, tmp_path: Path) -> None:
    whole = ground(make_run(tmp_path / "w", model), "torch").source
    packed = ground(make_run(tmp_path / "p", model, quantization="4bit"), "torch").source
    unpacked = tensors.size_of(model, "float32")
    for form in FORMS:
        assert size_of(packed, Asked(form)) - size_of(whole, Asked(form)) == unpacked, form


def test_an_ls_lora_as_it_is_needs_no_room_for_the_base(model: Path, tmp_path: Path) -> None:
    bent = (replace(SPECS[0], kind="lslora", spline=Spline()),)
    run = make_run(tmp_path / "r", model, specs=bent, quantization="4bit")
    source = ground(run, "torch").source
    unpacked = tensors.size_of(model, "float32")
    assert (
        size_of(source, Asked("adapter"))
        == (run / source.entries[0].folder / "adapter_model.safetensors").stat().st_size
    )
    fitted = size_of(source, Asked("adapter", least_squares=True))
    assert fitted - size_of(source, Asked("adapter")) == unpacked


def test_mlx_asks_for_all_three_models_at_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpacked, merged and converted lie beside each other."""
    packed = ground(make_run(tmp_path / "p", model, quantization="4bit"), "torch")
    free = 3 * tensors.size_of(model, "float32") - 1
    disk = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr("mindprint.disk.room.shutil.disk_usage", lambda _: disk)
    monkeypatch.setattr(mlx, "_check_mlx", lambda: None)
    with pytest.raises(NoRoom):
        mlx.export_mlx(packed, Asked("mlx"), tmp_path)
    assert not list(tmp_path.glob("unpacked"))

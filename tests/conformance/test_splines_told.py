"""A run with LS-LoRA tells what became of its splines: as it goes, in its files, in its reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mindprint.cli.report import show
from mindprint.report.files import read_result, write_reports
from mindprint.report.spline import SplinesRecord
from tests.conformance.conftest import ModelFolder
from tests.runs import curriculum, make_run
from tests.tiny import make_tokenizer

BENT = (
    "adapter.kind=lslora",
    "adapter.rank=4",
    "adapter.spline_rate=60",
    "adapter.identity_penalty=0",
    "dpo.when=never",
    "eval.few_shot=0",
    "gate.rollback=false",
)


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


def test_splines_are_told_as_a_stage_ends_and_stand_in_its_reports(
    tmp_path: Path, backend: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_run(tmp_path / "run", model, backend, *BENT, teach=curriculum(1))
    (told,) = [event for event in made.events if event.kind == "splines"]
    record = SplinesRecord.model_validate(told.data)
    assert len(record.layers) == 14 and record.rows == 6

    # The figures are of the adapter that was written.
    held = load_file(made.path / "topics/unit/chapter/topic-0/sft/adapter_model.safetensors")
    first = record.layers[0]
    values = held[f"base_model.model.{first.layer}.lora_spline_values"].astype(np.float64)
    assert np.abs(np.array(first.values) - values).max() < 1e-6
    assert first.moved == pytest.approx(np.abs(values - [-3, -1.5, 0, 1.5, 3]).mean(), abs=1e-6)
    assert 0 < first.inner <= 1 and 0 <= first.outside < 1
    assert "every input lies on the two pieces beside 0" in made.notices()

    lines = [json.loads(line) for line in (made.path / "events.jsonl").read_text().splitlines()]
    assert [line["data"] for line in lines if line["kind"] == "splines"] == [told.data]
    result = read_result(made.path)
    assert result.topics[0].stages[0].splines == record
    page, text, _ = [path.read_text("utf-8") for path in write_reports(made.path)]
    assert page.count('class="bend"') == 7 and "## How the splines bent" in text
    show(result)
    assert "Lamps 0, SFT: in" in capsys.readouterr().out


def test_a_run_with_lora_has_none(tmp_path: Path, model: Path) -> None:
    made = make_run(
        tmp_path / "run", model, "mlx", "dpo.when=never", "eval.few_shot=0", teach=curriculum(1)
    )
    assert "splines" not in {event.kind for event in made.events}
    assert made.result is not None and made.result.topics[0].stages[0].splines is None

"""Topics dropped from runs of DoRA and LS-LoRA: what is left is exact, or the drop is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import peft_files
from mindprint import ledger as ledgers
from mindprint.difference import check_straight
from mindprint.errors import ConfigError
from mindprint.footprint import read_sizes
from mindprint.rundir import RunDir
from mindprint.without import Without
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.test_heritage import NOISE, TOPICS, acting, dropped, logits, trained, worn
from tests.kinds import dense
from tests.tiny import make_tokenizer


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


@pytest.mark.parametrize("kind", ["dora", "lslora"])
def test_in_a_stack_the_others_act_as_their_files_have_them(
    tmp_path: Path, backend: str, model: Path, open_session: OpenSession, kind: str
) -> None:
    """A later DoRA gives its own lengths to what is below it without the dropped one."""
    own = ("handoff=stack", f"adapter.kind={kind}")
    run = trained(tmp_path / "run", model, backend, *own).path
    dropped(run, model, TOPICS[1], tmp_path / "new")
    session = open_session(backend, model)
    names = ledgers.attach(session, RunDir(tmp_path / "new"))
    assert names == (f"{TOPICS[0]}:sft", f"{TOPICS[2]}:sft")
    left = logits(session)
    others = [folder for folder in acting(run) if TOPICS[1] not in str(folder)]
    assert np.array_equal(left, worn(open_session(backend, model), others))
    assert np.abs(left - worn(open_session(backend, model), acting(run))).max() > 0.01
    kinds = {entry.kind for entry in ledgers.read(RunDir(tmp_path / "new")).acting()}
    assert kinds == {kind}


@pytest.mark.parametrize("gone", [0, 1])
def test_a_topic_in_the_one_dora_of_all_is_subtracted(
    tmp_path: Path, backend: str, model: Path, open_session: OpenSession, gone: int
) -> None:
    """The oracle: the weights that the states of the adapter make, in float64, added up as a model
    of its own."""
    run = trained(tmp_path / "run", model, backend, "handoff=continue", "adapter.kind=dora").path
    states = [peft_files.read(run / f"topics/{topic}/sft") for topic in TOPICS]
    new = tmp_path / "new"
    dropped(run, model, TOPICS[gone], new)
    ledger = ledgers.read(RunDir(new))
    assert ledger.handoff == "stack"
    made = [(one.topic, one.stage, one.kind) for one in ledger.acting()]
    kept = [(topic, "sft", "dora") for topic in TOPICS[:gone]]
    assert made == kept + [(topic, "difference", "dora") for topic in TOPICS[gone + 1 :]]
    folder = tmp_path / "oracle"
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    held = [peft_files.read(place) for place in acting(new)]
    for path in read_sizes(model).linears:
        w0 = weights[f"{path}.weight"].astype(np.float64)
        whole = [dense(path, w0, [state]) for state in states]
        before = whole[gone - 1] if gone else w0
        wanted = before + (whole[-1] - whole[gone])
        found = dense(path, w0, held)
        assert np.abs(found - wanted).max() < 1e-6 * np.abs(wanted).max()  # float32 files
        weights[f"{path}.weight"] = wanted.astype(np.float32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    wanted_logits = logits(open_session(backend, folder))
    session = open_session(backend, model)
    ledgers.attach(session, RunDir(new))
    scale = np.abs(wanted_logits).max()
    assert np.abs(logits(session) - wanted_logits).max() <= NOISE * scale
    last = worn(open_session(backend, model), [run / f"topics/{TOPICS[-1]}/sft"])
    assert np.abs(last - wanted_logits).max() > 100 * NOISE * scale


def test_one_ls_lora_of_all_topics_is_not_taken_apart(tmp_path: Path, model: Path) -> None:
    """A new run with the branch turned round would hold the dropped topic's own adapter."""
    run = trained(tmp_path / "run", model, "torch", "handoff=continue", "adapter.kind=lslora").path
    for topic in TOPICS[:2]:
        with pytest.raises(ConfigError, match="its splines bend") as no:
            Without.of(run, topic)
        assert "handoff=stack" in no.value.hint
    without = Without.of(run, TOPICS[2])  # the last one: what was before it stands there whole
    assert without.steps == () and [one.topic for one in without.ledger.acting()] == [TOPICS[1]]
    check_straight(RunDir(run), ())

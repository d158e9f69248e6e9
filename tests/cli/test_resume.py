"""`resume`: to the same end, or a refusal that names what differs; never in between."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindprint.cli import execute
from mindprint.cli.prepare import Prepared
from mindprint.disk.sealed import read_json
from mindprint.inputs import read_inputs, write_inputs
from mindprint.rundir import RunDir
from tests.cli.conftest import Mindprint
from tests.cli.stops import at_step, refused, stopping
from tests.cli.test_train import train
from tests.runs import tree_bytes


def test_every_difference_is_in_one_table_and_no_weight_is_loaded(
    mindprint: Mindprint, curriculum: Path, stopped: Path, no_model: None
) -> None:
    before = tree_bytes(stopped)
    settings = stopped / "config.yaml"
    settings.write_text(settings.read_text("utf-8").replace("beta: 0.1", "beta: 0.2"), "utf-8")
    with (curriculum / "voice" / "letter.md").open("a", encoding="utf-8") as letter:
        letter.write("And another thing.\n")
    (curriculum / "voice" / "note.md").write_text("And one more.\n", "utf-8")
    said = mindprint("resume", stopped, "--set", "adapter.rank=8")
    refused(said, 2, "4 things are not as it began", f"--> {stopped}/inputs.json", "--fork NEW")
    table = [line.split() for line in said.error.splitlines()[2:-1]]
    assert [row[0] for row in table] == ["what", "adapter.rank", "dpo.beta", *["curriculum:"] * 2]
    assert table[1][1:] == ["4", "8"] and table[2][1:] == ["0.1", "0.2"]
    assert table[3][1] == "voice/letter.md" and table[4][1:4] == ["voice/note.md", "not", "there"]
    rank, beta = said.error.splitlines()[3:5]
    assert rank.index("4") == beta.index("0.1"), "the columns stand one under the other"
    assert tree_bytes(stopped) == before


def test_another_model_or_tokenizer_is_refused(
    mindprint: Mindprint, model: Path, stopped: Path, tmp_path: Path, no_model: None
) -> None:
    other = shutil.copytree(model, tmp_path / "other")
    config = other / "config.json"
    config.write_text(config.read_text("utf-8") + "\n", "utf-8")
    tokens = other / "tokenizer_config.json"
    tokens.write_text(tokens.read_text("utf-8") + "\n", "utf-8")
    said = mindprint("resume", stopped, "--model", other)
    refused(said, 2, "2 things", "\n      model   ", "\n      tokenizer and template")
    said = mindprint("resume", stopped, "--model", other, "--fork", tmp_path / "new")
    refused(said, 2, "\n      model  ", "adapters belong to its model")
    assert not (tmp_path / "new").exists()


def test_what_lies_elsewhere_now_is_found_there(
    mindprint: Mindprint, curriculum: Path, stopped: Path, tmp_path: Path
) -> None:
    moved = curriculum.rename(tmp_path / "moved")
    refused(mindprint("resume", stopped), 2, "curriculum is gone from", "`--curriculum PATH`")
    assert mindprint("resume", stopped, "--curriculum", moved).code == 1
    assert read_json(stopped / "inputs.json")["curriculum"] == str(moved)


def test_a_model_that_moved(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = shutil.copytree(model, tmp_path / "there")
    with monkeypatch.context() as patched:
        stopping(patched, at_step(1, topics[0]))
        train(mindprint, curriculum, there, tmp_path / "r")
    there.rename(tmp_path / "here")
    refused(mindprint("resume", tmp_path / "r"), 2, "the model is gone from", "`--model PATH`")
    assert mindprint("resume", tmp_path / "r", "--model", tmp_path / "here").code == 1
    assert read_json(tmp_path / "r" / "inputs.json")["model"] == str(tmp_path / "here")


@pytest.mark.parametrize("how", ["removed", "emptied", "half"])
def test_settings_that_are_gone_are_written_again(
    mindprint: Mindprint, done: Path, how: str, no_model: None
) -> None:
    file = done / "config.yaml"
    whole = file.read_bytes()
    if how == "removed":
        file.unlink()
    else:
        kept = whole.splitlines(keepends=True)[: 0 if how == "emptied" else 20]
        file.write_bytes(b"".join(kept))
    said = mindprint("resume", done)
    assert said.code == 1 and "config.yaml" in said.err and "written again" in said.err
    assert file.read_bytes() == whole
    assert "written again" not in mindprint("resume", done).err


def test_how_it_goes_on_may_change_and_stays_so(
    mindprint: Mindprint, stopped: Path, topics: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = ("--set", "run.on_oom=shrink", "--set", "run.checkpoint_every=1")
    with monkeypatch.context() as patched:
        stopping(patched, at_step(3, topics[1]))
        assert mindprint("resume", stopped, *free).code == 130
    assert read_json(stopped / "inputs.json")["config"]["run.on_oom"] == "shrink"
    assert "on_oom: shrink" in (stopped / "config.yaml").read_text("utf-8")
    said = mindprint("resume", stopped)
    assert said.code == 1 and "on_oom" not in said.err


def test_a_finished_run_gets_its_reports_again_without_a_model(
    mindprint: Mindprint, done: Path, no_model: None
) -> None:
    page = (done / "report.html").read_bytes()
    (done / "report.html").unlink()
    said = mindprint("resume", done)
    assert said.code == 1 and "mean: 0 of 3 topics passed" in said.out, said.err
    assert (done / "report.html").read_bytes() == page


@pytest.mark.parametrize("how", ["emptied", "flipped", "removed"])
def test_damaged_inputs_are_named(mindprint: Mindprint, stopped: Path, how: str) -> None:
    file = stopped / "inputs.json"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(b"" if how == "emptied" else content)
    if how == "removed":
        file.unlink()
    refused(mindprint("resume", stopped), 65, "`inputs.json` is not as it was written", str(file))


def test_wrong_use(mindprint: Mindprint, stopped: Path, tmp_path: Path, no_model: None) -> None:
    refused(mindprint("resume", stopped, "--until", "x"), 2, "--> --until", "add `--fork NEW`")
    said = mindprint("resume", stopped, "--fork", tmp_path / "n", "--until", "x")
    refused(said, 2, "no finished topic `x`", "it has finished: unit-01")
    said = mindprint("resume", stopped, "--fork", stopped / "inside")
    refused(said, 2, "lies in the run to be forked")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    said = mindprint("resume", stopped, "--fork", tmp_path / "full")
    refused(said, 2, "is not empty", "--> --fork", "choose another folder")
    refused(mindprint("resume", stopped, "--set", "sft.epoks=3"), 2, "unknown key `sft.epoks`")
    refused(mindprint("resume", stopped, "--backend", "jax"), 69, "there is no backend `jax`")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "mine", "r"]


def hinted(error: str) -> list[str]:
    """The words of the fork that a hint names."""
    (command,) = (part for part in error.split("`") if "--fork" in part)
    return shlex.split(command)


def test_the_hint_asks_a_fork_for_what_was_asked(
    mindprint: Mindprint, stopped: Path, tmp_path: Path, no_model: None
) -> None:
    here = stopped.rename(tmp_path / "a run")
    asked = ["--set", "sft.epochs=3", "--set", "adapter.targets=[q_proj, v_proj]"]
    said = mindprint("resume", here, *asked)
    refused(said, 2, "2 things are not")
    assert hinted(said.error) == ["mindprint", "resume", str(here), "--fork", "NEW", *asked]
    said = mindprint("resume", here, "--backend", "mlx", "--device", "cpu")
    refused(said, 2, "is under way on torch")
    assert hinted(said.error)[5:] == ["--backend", "mlx", "--device", "cpu"]


def test_a_topic_under_way_stays_on_its_device(
    mindprint: Mindprint, stopped: Path, topics: tuple[str, ...], no_model: None
) -> None:
    before = (stopped / "inputs.json").read_bytes()
    for backend in ((), ("--backend", "torch")):
        said = mindprint("resume", stopped, *backend, "--device", "cuda")
        refused(said, 2, f"topic `{topics[1]}` is under way on cpu: ", "--> --device")
        assert hinted(said.error)[5:] == [*backend, "--device", "cuda"]
    assert (stopped / "inputs.json").read_bytes() == before


def test_the_device_that_auto_becomes_is_looked_at_once_it_is_open(
    mindprint: Mindprint, stopped: Path
) -> None:
    write_inputs(stopped, replace(read_inputs(stopped), device="cuda", opened_on="cuda"))
    said = mindprint("resume", stopped, "--device", "auto")
    refused(said, 2, "is under way on cuda: ", "--> --device")
    assert read_inputs(stopped).opened_on == "cuda"


def test_another_device_is_kept_from_the_next_topic_on(
    mindprint: Mindprint, stopped: Path, topics: tuple[str, ...]
) -> None:
    shutil.rmtree(stopped / "topics" / topics[1])
    shutil.rmtree(stopped / "checkpoints")
    then = replace(read_inputs(stopped), device="cuda", opened_on="cuda", threads=0, blas="")
    write_inputs(stopped, then)
    said = mindprint("resume", stopped, "--device", "cpu")
    assert said.code == 1 and "from here on the device is `cpu`, before `cuda`" in said.err
    now = read_inputs(stopped)
    assert (now.device, now.opened_on) == ("cpu", "cpu") and now.threads > 0


def test_naming_the_runs_own_backend_keeps_its_device(
    mindprint: Mindprint, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def opened(prepared: Prepared) -> None:
        asked.append((prepared.backend.name, prepared.device))
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "open_model", opened)
    assert mindprint("resume", stopped, "--backend", "torch").code == 130
    assert asked == [("torch", "cpu")]


def test_what_another_process_changed_before_the_lock_is_looked_at_again(
    mindprint: Mindprint, stopped: Path, monkeypatch: pytest.MonkeyPatch, no_model: None
) -> None:
    lock = RunDir.lock

    def late(run: RunDir) -> Any:
        then = read_inputs(stopped)
        write_inputs(stopped, replace(then, config={**then.config, "sft.epochs": 9}))
        return lock(run)

    monkeypatch.setattr(RunDir, "lock", late)
    said = mindprint("resume", stopped, "--set", "sft.epochs=2")
    refused(said, 2, "1 thing is not as it began", "sft.epochs  9")
    assert not (stopped / ".owner").exists(), "the lock was let go of"


def test_a_topic_under_way_stays_on_its_backend(
    mindprint: Mindprint, stopped: Path, tmp_path: Path, topics: tuple[str, ...], no_model: None
) -> None:
    said = mindprint("resume", stopped, "--backend", "mlx")
    refused(said, 2, f"topic `{topics[1]}` is under way on torch: ", "sft at step 1")
    refused(said, 2, "finish the topic with", "--fork NEW --backend mlx")
    assert read_json(stopped / "inputs.json")["backend"] == "torch"


def test_a_full_disk_names_the_run_to_go_on_with(
    mindprint: Mindprint, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(session: object, order: object, *rest: object) -> None:
        raise OSError(28, "No space left on device", str(stopped / "events.jsonl"))

    with monkeypatch.context() as patched:
        patched.setattr("mindprint.pipeline.run_curriculum", full)
        said = mindprint("resume", stopped)
    refused(said, 2, "no room on the disk: ", "MB free", f"go on with `mindprint resume {stopped}`")
    assert mindprint("resume", stopped).code == 1

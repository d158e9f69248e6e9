"""`resume`: to the same end, or a refusal that names what differs; or a fork; never in between."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mindprint.cli import execute
from mindprint.cli.app import run
from mindprint.cli.prepare import open_model
from mindprint.disk.sealed import read_json
from mindprint.events import Event, Listener
from mindprint.inputs import read_inputs, write_inputs
from tests.cli.conftest import Mindprint, Said
from tests.cli.test_train import QUICK, train
from tests.runs import tree_bytes

Stop = Callable[[Event], bool]


def stopping(
    monkeypatch: pytest.MonkeyPatch, when: Stop, number: int = signal.SIGINT, times: int = 1
) -> None:
    """Send this process a signal, once, at the first event that `when` is true of."""
    sent: list[Event] = []

    @contextmanager
    def listening(planned: object) -> Iterator[Listener]:
        def hear(event: Event) -> None:
            if not sent and when(event):
                sent.append(event)
                for _ in range(times):
                    signal.raise_signal(number)

        yield hear

    monkeypatch.setattr(execute, "progress", listening)


def at_step(step: int, topic: str) -> Stop:
    return lambda event: (
        event.kind == "step" and event.topic == topic and event.data["step"] == step
    )


def topic_ended(topic: str) -> Stop:
    return lambda event: event.kind == "topic-finished" and event.topic == topic


def topics_of(curriculum: Path) -> tuple[str, ...]:
    found = sorted(path.parent for path in curriculum.rglob("quiz.*") if path.parent != curriculum)
    return tuple(path.relative_to(curriculum).as_posix() for path in found)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weight may be loaded."""

    def refused(prepared: object) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr(execute, "open_model", refused)


@pytest.fixture
def topics(curriculum: Path) -> tuple[str, ...]:
    return topics_of(curriculum)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A folder with a curriculum, and with a run of it stopped in its second topic."""
    folder = tmp_path_factory.mktemp("begun")
    assert run(["init", str(folder / "mine")]) == 0
    lessons = folder / "mine" / "curriculum"
    words = ["train", lessons, "--model", model, "--out", folder / "r"]
    words += ["--backend", "torch", "--device", "cpu"]
    words += [word for setting in (*QUICK, "sft.epochs=2") for word in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patched:
        stopping(patched, at_step(1, topics_of(lessons)[1]))
        assert run([str(word) for word in words]) == 130
    return folder


@pytest.fixture
def curriculum(begun: Path, tmp_path: Path) -> Path:
    """One's own copy of the curriculum."""
    return shutil.copytree(begun / "mine", tmp_path / "mine") / "curriculum"


@pytest.fixture
def stopped(begun: Path, curriculum: Path, tmp_path: Path) -> Path:
    """One's own copy of the run, as if it had been begun here."""
    copy = shutil.copytree(begun / "r", tmp_path / "r")
    write_inputs(copy, replace(read_inputs(copy), curriculum=curriculum))
    return copy


@pytest.fixture(scope="module")
def ended(begun: Path) -> Path:
    """The same run, gone on with to its end."""
    copy = shutil.copytree(begun / "r", begun / "ended")
    assert run(["resume", str(copy)]) == 1  # a random model passes no gate
    return copy


@pytest.fixture
def done(ended: Path, curriculum: Path, tmp_path: Path) -> Path:
    """One's own copy of the finished run."""
    copy = shutil.copytree(ended, tmp_path / "done")
    write_inputs(copy, replace(read_inputs(copy), curriculum=curriculum))
    return copy


def refused(said: Said, code: int, *words: str) -> None:
    assert said.code == code, said.err
    for word in words:
        assert word in said.error, said.error
    assert "Traceback" not in said.err and said.out == ""


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


def test_a_topic_under_way_stays_on_its_backend(
    mindprint: Mindprint, stopped: Path, tmp_path: Path, topics: tuple[str, ...], no_model: None
) -> None:
    said = mindprint("resume", stopped, "--backend", "mlx")
    refused(said, 2, f"topic `{topics[1]}` is under way on torch: ", "sft at step 1")
    refused(said, 2, "finish the topic with", "--fork NEW --backend mlx")
    assert read_json(stopped / "inputs.json")["backend"] == "torch"


def test_a_fork_with_nothing_changed_comes_to_the_same_end(
    mindprint: Mindprint, stopped: Path, ended: Path, tmp_path: Path
) -> None:
    before = {
        file: file.read_bytes()
        for file in stopped.rglob("*")
        if file.is_file() and file.name != ".lock"
    }
    said = mindprint("resume", stopped, "--fork", tmp_path / "new")
    assert said.code == 1 and "forked from" in said.err and "asked again" not in said.err
    assert {file: file.read_bytes() for file in before} == before
    assert tree_bytes(tmp_path / "new") == tree_bytes(ended)
    one, other = (read_json(path / "result.json") for path in (tmp_path / "new", ended))
    for name in ("verdict", "forgetting", "voice", "changes"):
        assert one[name] == other[name], name
    assert read_json(tmp_path / "new" / "inputs.json")["forked_from"]["run"] == str(stopped)


def test_a_fork_with_other_settings_and_another_backend(
    mindprint: Mindprint, stopped: Path, tmp_path: Path, topics: tuple[str, ...]
) -> None:
    new = tmp_path / "new"
    words = ("--backend", "mlx", "--set", "adapter.rank=2", "--set", "eval.max_tokens=5")
    said = mindprint("resume", stopped, "--fork", new, *words)
    assert said.code == 1, said.err
    assert "left out and asked again" in said.err and "adapter.rank: 2, there 4" in said.err
    entries = read_json(new / "ledger.json")["entries"]
    made = {(entry["topic"], entry["backend"], entry["rank"]) for entry in entries}
    assert made == {(topics[0], "torch", 4), (topics[1], "mlx", 2), (topics[2], "mlx", 2)}
    result = read_json(new / "result.json")
    assert result["status"] == "finished" and len(result["topics"]) == 3
    assert mindprint("resume", new).code == 1


def test_a_fork_until_a_topic_of_a_finished_run(
    mindprint: Mindprint, done: Path, tmp_path: Path, topics: tuple[str, ...]
) -> None:
    said = mindprint("resume", done, "--fork", tmp_path / "new", "--until", topics[1])
    assert said.code == 1 and f"after `{topics[1]}`" in said.err
    assert tree_bytes(tmp_path / "new") == tree_bytes(done)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_saves_and_says_how_to_go_on(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    out = tmp_path / "a run"
    with monkeypatch.context() as patched:
        stopping(patched, at_step(2, topics[0]), number)
        said = train(mindprint, curriculum, model, out, "--set", "sft.epochs=3")
    assert said.code == 130
    assert said.error.endswith(f"hint: go on with `mindprint resume '{out}'`")
    (newest,) = out.glob("checkpoints/*step-000002/state.json")
    assert read_json(newest)["topic"] == topics[0]


def test_a_second_signal_stops_at_once_and_nothing_is_lost(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        stopping(patched, at_step(2, topics[1]), times=2)
        said = train(mindprint, curriculum, model, tmp_path / "r")
    assert said.code == 130 and "stopped at once" in said.error
    assert f"`mindprint resume {tmp_path / 'r'}`" in said.error
    assert mindprint("resume", tmp_path / "r").code == 1
    train(mindprint, curriculum, model, tmp_path / "whole")
    assert tree_bytes(tmp_path / "r") == tree_bytes(tmp_path / "whole")


def test_a_signal_in_an_evaluation_ends_it_at_once(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        stopping(patched, topic_ended(topics[0]))
        said = train(mindprint, curriculum, model, tmp_path / "r")
    assert said.code == 130 and not (tmp_path / "r/topics" / topics[1] / "before").exists()


def test_a_signal_while_the_model_opens(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    stopped: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execute, "open_model", lambda prepared: signal.raise_signal(signal.SIGTERM))
    said = train(mindprint, curriculum, model, tmp_path / "runs" / "new")
    assert said.code == 130 and "nothing was written yet" in said.error
    assert not (tmp_path / "runs").exists()
    said = mindprint("resume", stopped)
    assert said.code == 130 and f"`mindprint resume {stopped}`" in said.error
    monkeypatch.setattr(execute, "open_model", open_model)
    assert mindprint("resume", stopped).code == 1


def test_a_signal_while_reports_are_written(
    mindprint: Mindprint, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(
            "mindprint.report.files.write_reports",
            lambda run: signal.raise_signal(signal.SIGINT),
        )
        said = mindprint("resume", stopped)
    assert said.code == 130 and f"`mindprint resume {stopped}`" in said.error
    assert mindprint("resume", stopped).code == 1
    assert (stopped / "report.html").is_file()


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

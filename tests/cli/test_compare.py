"""`compare`: finished runs side by side, and a curriculum trained on several backends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import typer

from mindprint.cli import matched, relay
from mindprint.cli.app import run
from mindprint.cli.compared import names, tell
from mindprint.cli.relay import Relay
from mindprint.cli.sides import sides_of
from mindprint.compare.model import Comparison
from mindprint.disk.sealed import read_json
from mindprint.inputs import read_inputs
from tests.cli.conftest import Mindprint, Said
from tests.cli.stops import at_step, refused, stopping
from tests.cli.test_light import FRAMEWORKS, HEAVY, modules_after
from tests.unit.report.compare_example import alike, apart, three

SMOKE = "unit-01-bees/chapter-01-the-hive/topic-02-smoke"
SETTINGS = (
    "gate.retries=0",
    "sft.epochs=2",
    "sft.batch_size=3",
    "eval.max_tokens=4",
    "eval.few_shot=0",
    "eval.resamples=200",
    "eval.retention=off",
    "adapter.rank=4",
    "dpo.when=never",
)
QUICK = [word for setting in SETTINGS for word in ("--set", setting)]
ONE = ("--topic", SMOKE, "--device", "cpu", *QUICK)

Started = list[list[str]]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A curriculum and a comparison of one of its topics, each backend in a process of its own."""
    folder = tmp_path_factory.mktemp("ground")
    assert run(["init", str(folder / "mine")]) == 0
    words = ["compare", folder / "mine" / "curriculum", "--backends", "torch,mlx"]
    words += ["--model", model, "--out", folder, *ONE, "--strict", "--json"]
    with redirect_stdout(StringIO()) as said:
        assert run([str(word) for word in words]) == 0
    (folder / "said.json").write_text(said.getvalue(), "utf-8")
    return folder


@pytest.fixture
def lessons(ground: Path) -> Path:
    return ground / "mine" / "curriculum"


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Relay, words: Sequence[str]) -> int:
        raise AssertionError(f"started {words}")

    monkeypatch.setattr(Relay, "run", refuse)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Children run in this process, which has its frameworks; gives their command lines."""
    started: Started = []

    def here(self: Relay, words: Sequence[str]) -> int:
        started.append(list(words))
        return run(words)

    monkeypatch.setattr(Relay, "run", here)
    return started


def test_finished_runs_side_by_side(mindprint: Mindprint, ground: Path, tmp_path: Path) -> None:
    said = mindprint("compare", ground / "mlx", ground / "torch", "--out", tmp_path / "c")
    assert said.code == 0, said.err
    assert said.out.index("what differs") < said.out.index("topic by topic")
    assert "machine  backend" in said.out and "torch − mlx" in said.out
    assert f"comparison: {tmp_path}/c/comparison.html" in said.out and "\x1b" not in said.out
    tree = read_json(tmp_path / "c" / "comparison.json")
    assert [side["name"] for side in tree["runs"]] == ["mlx", "torch"]
    for name in ("comparison.html", "comparison.md"):
        assert "Smoke" in (tmp_path / "c" / name).read_text("utf-8")

    told = mindprint("compare", ground / "mlx", ground / "torch", "--json", "--strict")
    assert told.code == 0 and Comparison.model_validate(told.tree).model_dump(mode="json") == tree
    (place,) = (tmp_path / "runs").glob("compare-*")
    assert (place / "comparison.html").is_file()


def test_strict_takes_no_check_for_granted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for made, told in ((three, "trl leaves mlx beyond a bound"), (apart, "no step of large")):
        with pytest.raises(typer.Exit) as ended:
            tell(made(), tmp_path / "c", strict=True, as_json=True)
        assert ended.value.exit_code == 1 and told in capsys.readouterr().err
    tell(alike(), tmp_path / "c", strict=True, as_json=False)


def test_runs_that_do_not_go_together_are_refused(
    mindprint: Mindprint, ground: Path, lessons: Path, tmp_path: Path
) -> None:
    mlx, torch = ground / "mlx", ground / "torch"

    def told(code: int, *words: str) -> Callable[..., None]:
        return lambda *line: refused(mindprint("compare", *line), code, *words)

    told(2, "one run alone", "mindprint compare RUN RUN")(mlx)
    told(2, "no backends are named", "--backends mlx,torch")(lessons)
    told(2, "is a curriculum, not a run")(mlx, lessons)
    told(2, "`--model` has no part", "--> --model")(mlx, torch, "--model", "m")
    told(2, "`--set` has no part")(mlx, torch, "--set", "sft.epochs=1")
    told(2, "is given twice")(mlx, torch, ground / "mine" / ".." / "mlx")
    told(2, "is the folder of a run", "--> --out")(mlx, torch, "--out", mlx)
    told(2, "is a run", "leave `--backends` out")(mlx, "--backends", "mlx,torch")
    told(2, "trains one curriculum")(lessons, lessons, "--backends", "mlx,torch")
    told(65, "there is no such run folder")(mlx, tmp_path / "none")
    told(2, "no such option `--strategies`")(lessons, "--strategies", "a,b")
    assert not (tmp_path / "runs").exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(
    mindprint: Mindprint, ground: Path, tmp_path: Path
) -> None:
    (tmp_path / "letter").write_text("mine", "utf-8")
    for place in (tmp_path / "letter" / "c", Path("/proc/nowhere")):
        said = mindprint("compare", ground / "mlx", ground / "torch", "--out", place)
        refused(said, 2, f"a comparison cannot be written to `{place}`", "--> --out")
    said = mindprint("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "new" / "c")
    assert said.code == 65 and not (tmp_path / "new").exists()


def test_trl_is_trained_as_the_third(
    mindprint: Mindprint,
    ground: Path,
    lessons: Path,
    model: Path,
    tmp_path: Path,
    inside: Started,
) -> None:
    """A witness of its own added to two runs that are there: it keeps to them in every step."""
    pytest.importorskip("trl")
    out = tmp_path / "c"
    for name in ("torch", "mlx"):
        shutil.copytree(ground / name, out / name)
    words = (lessons, "--backends", "torch,mlx,trl", "--model", model, "--out", out, *ONE)
    said = mindprint("compare", *words, "--strict")
    assert said.code == 0, said.err
    assert [line[0] for line in inside] == ["train"] and "trl" in inside[0]
    found = Comparison.model_validate(read_json(out / "comparison.json"))
    third = found.runs[2]
    assert (third.name, third.backend, third.engine) == ("trl", "torch", "trl")
    assert third.stages[0].steps == found.runs[0].stages[0].steps > 0
    assert {one.run for one in found.partings if one.bound and one.worst < 1e-5} == {"mlx", "trl"}
    assert found.first == found.gaps == ()


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    assert names([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert names([tmp_path / "a" / "torch", tmp_path / "b" / "torch"]) == ["a/torch", "b/torch"]
    assert names([tmp_path, tmp_path / "x" / ".." / "y"])[1] == "y"


@pytest.mark.usefixtures("nothing_starts")
def test_what_is_wrong_is_told_before_anything_is_trained(
    mindprint: Mindprint, lessons: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c"

    def asked(*more: object, backends: str = "mlx,torch", named: Path = model) -> Said:
        words = (lessons, "--backends", backends, "--model", named, "--out", out, *ONE, *more)
        return mindprint("compare", *words)

    refused(asked(backends="mlx,tourch"), 2, "no backend `tourch`", "did you mean `torch`?")
    refused(asked(backends="torch,torch"), 2, "named twice", "mindprint compare RUN RUN")
    refused(asked(backends="torch"), 2, "needs two backends")
    refused(asked(named=tmp_path / "none"), 2, "no model at")
    refused(asked("--set", "sft.epoch=3"), 2, "unknown key `sft.epoch`")
    refused(asked("--set", "run.engine=trl"), 2, "is what `--backends` names", "--set run.engine")
    refused(asked("--device", "gpu"), 2, "has no device `gpu` here", "it has: cpu")
    refused(asked("--topic", "nowhere"), 2, "nowhere")
    refused(asked("--set", "run.on_oom=shrink", backends="torch,trl"), 2, "run.on_oom")
    missing = mindprint("compare", tmp_path / "no", "--backends", "mlx,torch", "--model", model)
    refused(missing, 65, "is not there")
    assert not out.exists()

    (out / "torch").mkdir(parents=True)
    (out / "torch" / "letter.txt").write_text("mine", "utf-8")
    refused(asked(), 2, "is not empty")
    assert not (out / "mlx").exists()


def test_stopped_and_gone_on_with_by_the_same_command(
    mindprint: Mindprint,
    lessons: Path,
    model: Path,
    tmp_path: Path,
    inside: Started,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "c"
    words = ["compare", lessons, "--backends", "mlx,torch", "--model", model, "--out", out, *ONE]
    with monkeypatch.context() as patched:
        stopping(patched, lambda event: at_step(2, SMOKE)(event) and len(inside) == 2)
        said = mindprint(*words)
    assert said.code == 130 and not (out / "comparison.html").exists()
    assert "stopped while `torch` was trained" in said.err
    again = said.err.rpartition("the same command goes on: `")[2].strip().rstrip("`")
    assert again == " ".join(map(str, ["mindprint", *words[:6], *again_words(words)]))
    assert [line[0] for line in inside] == ["train", "train"]
    assert read_inputs(out / "mlx").backend == "mlx"
    before = (out / "mlx" / "result.json").read_bytes()

    half = mindprint("compare", out / "mlx", out / "torch", "--out", tmp_path / "half", "--json")
    (sft,) = half.tree["runs"][1]["stages"]
    assert half.code == 0 and sft["steps"] == 2 and half.tree["partings"][0]["steps"] == 2

    said = mindprint(*words)
    assert said.code == 0, said.err
    assert inside[2][:2] == ["resume", str(out / "torch")] and len(inside) == 3
    assert f"mlx (1 of 2): finished before, kept in {out / 'mlx'}" in said.err
    assert (out / "mlx" / "result.json").read_bytes() == before
    assert read_json(out / "comparison.json")["first"] == []

    assert mindprint(*words).code == 0 and len(inside) == 3  # nothing is left to train
    other = mindprint(*words, "--set", "sft.learning_rate=1e-3")
    refused(other, 2, "sft.learning_rate", "0.0002", "another folder with `--out`")
    shutil.rmtree(out / "mlx")
    (out / "torch").rename(out / "mlx")
    refused(mindprint(*words), 2, "backend", "torch", "mlx")
    assert len(inside) == 3


def again_words(words: Sequence[object]) -> list[object]:
    """The options of the command in the order in which it is told."""
    device = words.index("--device")
    settings = words[device + 2 :]
    topic = ["--topic", SMOKE]
    return ["--device", "cpu", *settings, *topic, "--out", words[words.index("--out") + 1]]


@pytest.mark.parametrize(
    ("code", "exit_code", "told"),
    [(1, 70, "exit code 1"), (65, 65, "exit code 65"), (-9, 70, "signal 9 (SIGKILL)")],
)
def test_a_run_that_fails_is_named(
    mindprint: Mindprint,
    lessons: Path,
    model: Path,
    tmp_path: Path,
    code: int,
    exit_code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 1 without a finished run is no failed gate: Python itself ends so."""
    started: Started = []

    def fails(self: Relay, words: Sequence[str]) -> int:
        started.append(list(words))
        return code

    monkeypatch.setattr(Relay, "run", fails)
    words = (lessons, "--backends", "mlx,torch", "--model", model, "--out", tmp_path / "c", *ONE)
    said = mindprint("compare", *words)
    refused(said, exit_code, "`mlx` could not be trained", told, "the same command goes on")
    assert len(started) == 1 and started[0][0] == "train"


def test_what_makes_backends_draw_otherwise_is_said(
    mindprint: Mindprint,
    lessons: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Relay, "run", lambda self, words: 130)
    more = ("--set", "adapter.dropout=0.1", "--set", "dpo.when=auto", "--set", "dpo.pairs=self")
    words = (lessons, "--backends", "mlx,torch", "--model", model, "--out", tmp_path / "c", *ONE)
    said = mindprint("compare", *words, *more)
    assert said.code == 130
    assert "`adapter.dropout` is 0.1: the backends draw different masks" in said.err
    assert "`dpo.pairs` is `self`" in said.err


def test_each_backend_in_a_process_of_its_own(ground: Path) -> None:
    found = Comparison.model_validate_json((ground / "said.json").read_text("utf-8"))
    assert found.model_dump(mode="json") == read_json(ground / "comparison.json")
    assert [(one.name, one.backend) for one in found.runs] == [("torch", "torch"), ("mlx", "mlx")]
    assert not {one.key for one in found.differences} & {"threads", "dtype", "device"}
    for name in ("torch", "mlx"):
        assert (ground / name / "report.html").is_file()


SIGNALLED = """\
import os, signal, sys
print("said", flush=True)
heard = []
def hear(number, frame):
    heard.append(number)
    open(sys.argv[-1], "a").write(f"{number}\\n")
signal.signal(signal.SIGTERM, hear)
signal.signal(signal.SIGINT, hear)
os.kill(os.getppid(), int(sys.argv[-2]))
while not heard:
    signal.pause()
sys.exit(130)
"""


@pytest.fixture
def quietly() -> Iterator[None]:
    """Handlers of this process as they were: `_stopped` leaves signals ignored."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    yield
    for one, was in before.items():
        signal.signal(one, was)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("quietly")
def test_a_signal_is_passed_on_once_and_waited_for(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The child asks this process to stop, and ends by what it is sent."""
    monkeypatch.setattr(relay, "COMMAND", (sys.executable, "-c", SIGNALLED))
    heard, passing = tmp_path / "heard", Relay()
    with passing.listening():
        assert passing.run([str(int(number)), str(heard)]) == 130
        assert heard.read_text("utf-8") == f"{int(number)}\n" and passing.heard == 1
        with pytest.raises(KeyboardInterrupt):  # between two commands there is nobody to tell
            signal.raise_signal(number)
    assert capfd.readouterr() == ("", "said\n")  # stdout is for the comparison


def test_all_count_with_as_many_threads() -> None:
    mine = relay.environment({"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "8", "A": "b"})
    assert {mine[name] for name in relay.THREADS} == {"3"} and mine["A"] == "b"
    unset = relay.environment({})
    assert len({unset[name] for name in relay.THREADS}) == 1 and int(unset["OMP_NUM_THREADS"]) > 0


def test_finished_runs_are_compared_without_a_framework(ground: Path, tmp_path: Path) -> None:
    help_code = "from mindprint.cli.app import run\nassert run(['compare', '-h']) == 0"
    assert not modules_after(help_code) & (FRAMEWORKS | HEAVY - {"pydantic"})
    runs = [str(ground / "mlx"), str(ground / "torch"), "--out", str(tmp_path / "c")]
    code = f"from mindprint.cli.app import run\nassert run(['compare', *{runs!r}]) == 0"
    assert not modules_after(code) & {"torch", "transformers", "peft", "trl", "mlx", "mlx_lm"}


def test_the_exit_codes_of_a_child_are_kept_where_they_say_something(tmp_path: Path) -> None:
    (side,) = sides_of(["mlx"], tmp_path)
    assert [matched.NotTrained(side, code, "x").exit for code in (2, 65, 69, 70, 1)] == [
        2,
        65,
        69,
        70,
        70,
    ]

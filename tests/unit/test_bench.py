"""scripts/bench.py: its arithmetic, its proof of equal work, and its sides on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.deferred import deferred
from backends.torch import UNUSED

BARS = {"sft": 1e-5, "dpo": 1e-4}
"""Of losses that differ by the order of float32 sums; DPO's is a small difference of large ones."""
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two thin layers with the benchmark's own tokenizer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        from timing.models import Shape, make_model  # type: ignore[import-not-found]

        folder = tmp_path_factory.mktemp("bench")
        with deferred(*UNUSED):  # half of what making a model takes is the import of these
            made = make_model(folder, Shape("tiny", 32, 48, 2, 4, 2, 600))
        yield made


def outcome(**changes: Any) -> Any:
    from timing.protocol import Outcome  # type: ignore[import-not-found]

    own = {"seconds": 1.0, "rows": 8, "trained_tokens": 400, "loaded_rss": 100, "peak_rss": 300}
    return Outcome(**{**own, "details": {"digest": 5}, **changes})


def measured(ours: list[float], theirs: list[float], **changes: Any) -> Any:
    """Two repeats at 2 and 6 steps; `ours` and `theirs`: seconds of each process, in order."""
    from timing.measured import (  # type: ignore[import-not-found]
        Measured,
        Operations,
        Run,
    )

    runs = tuple(
        Run(side, (2, 6)[place % 2], seconds, outcome(**changes if side == "peer" else {}))
        for side, taken in (("mindprint", ours), ("peer", theirs))
        for place, seconds in enumerate(taken)
    )
    counts = Operations(needed=4e9, done=5e9)
    return Measured(
        kind="sft",
        backend="torch",
        size="small",
        device="cpu",
        dtype="float32",
        threads=2,
        order="file",
        steps=(2, 6),
        sides=("mindprint", "peer"),
        runs=runs,
        operations=counts,
    )


def test_start_up_falls_out_of_the_seconds_a_step() -> None:
    from timing.figures import per_step  # type: ignore[import-not-found]

    assert per_step((2, 11.0), (6, 13.0)) == per_step((2, 1.0), (6, 3.0)) == 0.5
    with pytest.raises(ValueError, match="raise the step counts"):
        per_step((2, 3.0), (6, 2.9))


def test_ratios_are_of_runs_side_by_side() -> None:
    """The second repeat is twice as slow for both: the ratios are of each repeat's own."""
    found = measured([5, 9, 5, 13], [6, 14, 6, 26])
    assert found.seconds("mindprint") == [1.0, 2.0]
    assert found.seconds("peer") == [2.0, 5.0]
    assert asdict(found.ratio("peer")) == {"median": 2.25, "least": 2.0, "most": 2.5}


def test_unequal_work_is_told_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench  # type: ignore[import-not-found]
    from timing.results import Results  # type: ignore[import-not-found]

    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "rows: 8, equal; trained tokens: 400, equal"),
        ({"trained_tokens": 404}, "trained tokens: 400 and 404, NOT EQUAL"),
        ({"details": {"digest": 6}}, "checksum of the ids: 5 and 6, NOT EQUAL"),
    ]
    for place, (changes, said) in enumerate(cases):
        path = tmp_path / f"{place}.json"
        Results(compared=[measured([5, 9], [6, 14], **changes)]).write(path)
        assert bench.main(["tables", str(path)]) == (1 if changes else 0)
        told = capsys.readouterr()
        assert said in told.out
        assert (said in told.err) == bool(changes)


def test_the_last_file_of_the_same_work_counts(tmp_path: Path) -> None:
    from timing.results import Results

    one, two = measured([5, 9], [6, 14]), measured([5, 9], [6, 18])
    for name, found in (("one", one), ("two", two)):
        Results(compared=[found]).write(tmp_path / name)
    assert Results.read([tmp_path / "one", tmp_path / "two"]).compared == [two]
    other = replace(one, size="large")
    Results(compared=[other]).write(tmp_path / "other")
    assert Results.read([tmp_path / "two", tmp_path / "other"]).compared == [two, other]


def test_losses_are_compared_only_where_the_rows_are_the_same() -> None:
    from timing.figures import parted

    ours = outcome(losses=[2.0, 4.0])
    assert parted(ours, outcome(losses=[2.0, 4.4])) == pytest.approx(0.1)
    assert parted(ours, outcome(losses=[2.0, 4.4], details={"digest": 6})) is None
    assert parted(ours, outcome()) is None


def test_rows_in_another_order_are_compared_by_a_short_run_in_the_files(
    tmp_path: Path,
) -> None:
    """The timed runs' losses are of other steps; the extra run's are those of the peer's fewer."""
    from timing.measured import Run
    from timing.results import Results

    found = replace(measured([5, 9], [6, 14], losses=[2.0, 4.4]), order="buckets")
    assert found.parted("peer") is None
    found = replace(found, check=Run("mindprint", 2, 1.0, outcome(losses=[2.0, 4.0])))
    assert found.parted("peer") == pytest.approx(0.1)
    Results(compared=[found]).write(tmp_path / "bench.json")
    again = Results.read([tmp_path / "bench.json"])
    assert again.compared == [found]
    assert "at most (its own 2 steps in the file's order)." in again.tables()["sft"]


def test_a_peer_that_ran_in_every_second_repeat_stands_beside_two() -> None:
    from timing.figures import ratios

    assert asdict(ratios([1.0, 2.0, 4.0], [8.0, 12.0])) == {"median": 4, "least": 3, "most": 8}


def test_operations_are_those_of_a_sum_done_by_hand() -> None:
    """Hidden 4, inner 6, two layers, 4 wide queries, 2 wide keys, 10 words; a prompt of 3 tokens
    with two answers of 2; LoRA of rank 3 on q."""
    from timing.data import Sample  # type: ignore[import-not-found]
    from timing.flops import Counted, padded, tokens  # type: ignore[import-not-found]
    from timing.sides.rows import batch_of  # type: ignore[import-not-found]

    from mindprint.memory.operations import Tokens
    from mindprint.memory.shape import Factors, Shape

    shape = Shape(0, 0, hidden=4, inner=6, layers=2, heads=1, queries=4, keys=2, vocabulary=10)
    model = Counted(shape, Factors(numbers=2 * 3 * 8, rank=3, inputs=8, outputs=8, layers=2))
    pair = [Sample((1, 5, 6), ((7, 2), (8, 2)))]
    # each row: 5 tokens, which see 1 + 2 + 3 + 4 + 5; 2 of each are trained
    whole = tokens(pair, whole=True)
    assert whole == Tokens(fed=10, seen=30, headed=4)
    # the prompt but for its last token once: 2 + 3 + 3 tokens, which see 3 + 12 + 12
    assert tokens(pair) == Tokens(fed=8, seen=27, headed=4)
    # 2 for the prompt, and answers of 3; a batch's width is a multiple of 8
    assert padded(whole, [batch_of(pair, np.zeros((1, 2), np.float32), [0])]).fed == 8
    # q, k, v on every token in both layers; o and the three others not where the last is not read
    before, after = 16 + 8 + 8, 16 + 3 * 24
    body = 2 * (2 * before * 10 + after * 10 + after * 4)
    attention, head, lora = 4 * 2 * 4 * 30, 2 * 4 * 10 * 4, 2 * 48 * 10
    assert model.forward(whole) == body + attention + head + lora
    # back: the same again, attention twice, without the inputs of the first q, k and v; LoRA thrice
    spared = 2 * before * 10
    assert model.step(whole) == 2 * body - spared + 3 * attention + 2 * head + 3 * lora


def test_long_prompts_leave_the_ratio_that_was_counted_for_the_large_model() -> None:
    """1.44 with every position of the last block, of which both ways leave out the unread ones."""
    from timing import data, flops  # type: ignore[import-not-found]

    from mindprint.memory.shape import Factors, Shape

    large = Shape(0, 0, 896, 4864, layers=6, heads=14, queries=896, keys=128, vocabulary=151_936)
    model = flops.Counted(large, Factors(6 * 8 * 4608, 8, 0, 0, 18))
    rows = data.draw("dpo", 8, lengths=data.LONG_PROMPTS)
    whole, shared = (model.step(flops.tokens(rows, whole=way)) for way in (True, False))
    assert whole / shared == pytest.approx(1.41, abs=0.01)


def test_the_template_gives_back_the_ids_that_were_drawn(model: Path) -> None:
    from timing import data
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    for sample in data.draw("dpo", 2):
        for row, answer in zip(sample.rows, sample.said, strict=True):
            told = [
                {"role": "user", "content": sample.question},
                {"role": "assistant", "content": answer},
            ]
            assert tokenizer.apply_chat_template(told, return_dict=False) == list(row)
            told.pop()
            assert tokenizer.apply_chat_template(told, return_dict=False) == list(sample.prompt)


def spec(model: Path, folder: Path, kind: str, backend: str, steps: int = 2, **more: Any) -> Any:
    from timing import data
    from timing.protocol import Spec

    samples = data.draw(kind, 2 if kind != "sft" else 4)
    data.write(folder, kind, samples)
    return Spec(
        kind, str(model), str(folder), str(folder), steps, backend, batch=2, max_tokens=4, **more
    )


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_both_backends_do_the_same_work(model: Path, tmp_path: Path, kind: str) -> None:
    """The same rows, targets and losses; that TRL does too is proven by every call of the script,
    and its import alone would take five seconds here."""
    from timing.figures import parted, proof
    from timing.sides import mindprint_train  # type: ignore[import-not-found]

    ours, other = (
        mindprint_train.side(spec(model, tmp_path / backend, kind, backend))
        for backend in ("torch", "mlx")
    )
    assert (len(ours.step_seconds), ours.rows) == (2, 4 if kind == "sft" else 8)
    assert proof(ours, other).equal
    assert parted(ours, other) < BARS[kind]


def test_rows_in_buckets_are_the_same_rows(model: Path, tmp_path: Path) -> None:
    from timing.figures import proof
    from timing.sides import mindprint_train

    plain = spec(model, tmp_path, "dpo", "torch")
    found = mindprint_train.side(plain)
    for options in ({"order": "buckets"}, {"sharing": False}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("backends.prefix.WORTH", 0.9)
            assert proof(found, mindprint_train.side(replace(plain, options=options))).equal
    with pytest.raises(ValueError, match="no option speed"):
        mindprint_train.side(replace(plain, options={"speed": 2}))
    with pytest.raises(ValueError, match="do not make 3 steps"):
        mindprint_train.side(replace(plain, steps=3))


def test_answers_have_all_their_tokens(model: Path, tmp_path: Path) -> None:
    from timing.figures import proof
    from timing.sides import mindprint_answers, transformers_answers

    ours = mindprint_answers.side(spec(model, tmp_path, "answers", "torch"))
    assert (ours.rows, ours.trained_tokens) == (2, 8)
    theirs = transformers_answers.side(spec(model, tmp_path, "answers", "torch"))
    assert proof(ours, theirs).equal


def test_a_spec_and_an_outcome_are_read_as_they_were_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from timing.protocol import Outcome, Spec

    made = Spec("sft", "model", "data", "work", targets=("q_proj",), options={"order": "file"})
    path = made.write(tmp_path / "spec.json")
    assert Spec.read(path) == made
    path.write_text(json.dumps({**asdict(made), "speed": 2}))
    with pytest.raises(ValueError, match="speed"):
        Spec.read(path)
    said = outcome(losses=[1.5], notes=["one"])
    print("chatter of a library")
    said.say()
    assert Outcome.heard(capsys.readouterr().out) == said


def test_a_worker_that_fails_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timing.process import WorkerFailed, timed  # type: ignore[import-not-found]
    from timing.protocol import Spec

    made = Spec("sft", "model", str(tmp_path), str(tmp_path / "work"))
    with pytest.raises(WorkerFailed, match="there_is_none"):
        timed("there_is_none", made)


def test_a_missing_peer_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench

    monkeypatch.setattr("timing.comparisons.installed", lambda name: name != "mlx-lm-lora")
    monkeypatch.delattr("bench.measured")
    assert bench.main(["dpo", "--backend", "mlx"]) == 69
    assert capsys.readouterr().err == (
        "not run: mlx-lm-lora missing; install: pip install -e '.[bench]'\n"
    )


def test_a_call_goes_on_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured as often with the same steps is not measured again, unless it is asked."""
    import bench
    from timing import calls

    made: list[str] = []

    def measure(one: Any, size: str, asked: Any) -> Any:
        made.append(f"{one.kind} {one.backend} {size} x{asked.repeats}")
        found = measured([5, 9] * asked.repeats, [6, 14] * asked.repeats)
        sides = tuple(side.name for side in one.sides)
        names = dict(zip(("mindprint", "peer"), sides, strict=True))
        runs = tuple(replace(run, side=names[run.side]) for run in found.runs)
        return replace(
            found, backend=one.backend, size=size, order=asked.order, sides=sides, runs=runs
        )

    monkeypatch.setattr(calls, "measure", measure)
    path = tmp_path / "bench.json"
    words = ["sft", "--size", "small", "--steps", "2", "6", "--json", str(path), "--repeats"]
    assert bench.main([*words, "1"]) == bench.main([*words, "1"]) == 0
    assert made == ["sft torch small x1", "sft mlx small x1"]
    assert bench.main([*words, "2", "--backend", "mlx"]) == 0
    assert bench.main([*words, "1", "--backend", "torch", "--again"]) == 0
    assert made[2:] == ["sft mlx small x2", "sft torch small x1"]
    assert len(json.loads(path.read_text())["compared"]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ("sft", "file.json"),
        ("tables",),
        ("sft", "--repeats", "0"),
        ("sft", "--backend", "mlx", "--device", "cuda"),
        ("sft", "--docs", "no.md"),
    ],
)
def test_words_that_do_not_fit_together_are_refused(words: tuple[str, ...]) -> None:
    import bench

    with pytest.raises(SystemExit) as ended:
        bench.main(words)
    assert ended.value.code == 2


def test_tables_go_into_their_places(tmp_path: Path) -> None:
    from timing import document
    from timing.results import NAMES

    marks = (document.BEGINS.format("sft", document.BENCH), document.ENDS.format("sft"))
    path = tmp_path / "page.md"
    path.write_text(f"before\n{marks[0]}\nold\n{marks[1]}\nafter\n")
    document.place(path, {"sft": "| new |"})
    assert path.read_text() == f"before\n{marks[0]}\n\n| new |\n\n{marks[1]}\nafter\n"
    with pytest.raises(ValueError, match="no place for `dpo`"):
        document.place(path, {"dpo": "| new |"})
    document.check(SCRIPTS.parent / "docs" / "performance.md", NAMES)


def test_every_table_is_told_from_what_was_measured(tmp_path: Path) -> None:
    from timing.limits import Limit  # type: ignore[import-not-found]
    from timing.results import Results

    steps = measured([5, 9], [6, 14], notes=["it trains padding"], step_seconds=[9.0, 1.5, 1.5])
    long = replace(steps, kind="prefix", operations=replace(steps.operations, ratio=2.0))
    long = replace(
        long,
        runs=tuple(
            replace(run, outcome=replace(run.outcome, step_seconds=[9.0, 1.5 * place + 0.5]))
            for place, run in enumerate(run for run in long.runs if run.steps == 6)
        ),
    )
    rates = Limit("torch", "small", "cpu", "float32", 2, {"slow": 5.0, "fast": 8.0})
    path = tmp_path / "bench.json"
    planned = {"name": "torch sft", "peak": 400 << 20, "loaded": 300 << 20, "planned": 360 << 20}
    planned["off"] = -0.1
    found = Results(compared=[steps, long], peaks=[steps], limits=[rates], planned=[planned])
    found.write(path)
    tables = Results.read([path]).tables()
    assert "1.00 (1.00 to 1.00) | 2.00 (2.00 to 2.00) | 2.00 (2.00 to 2.00) |" in tables["sft"]
    assert "- peer: it trains padding." in tables["sft"]
    assert "would make it 2.00: 200% of that reached" in tables["prefix"]
    assert "Medians (least to most) of small torch 1 repeat at 2 and 6 steps." in tables["sft"]
    line = "| small | torch | sft | 1 | 4.00 | 5.00 | 4 | 5 | 50% | 62% |"
    assert line in tables["limit"]
    assert "| torch sft | 100 | 400 | 360 | -10.0% |" in tables["plan"]
    assert "Best: fast, 8." in tables["limit"]
    assert tables["memory"].endswith("| 1.00 |")

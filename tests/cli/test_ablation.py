"""scripts/ablation.py: equal parameters, equal rounds within a budget, and a quick run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindprint.cli.app import run
from mindprint.footprint import read_sizes
from tests.unit.report.example import example

SCRIPTS = Path(__file__).parents[2] / "scripts"
PAGE = SCRIPTS.parent / "docs" / "concepts" / "adapters.md"
TOPIC = "unit-01-bees/chapter-01-the-hive/topic-02-smoke"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield


@pytest.fixture
def script() -> Any:
    """As `python scripts/ablation.py` finds its parts."""
    import ablation  # type: ignore[import-not-found]

    return ablation


def test_every_kind_has_as_many_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the model that ships, whose layers are counted by hand: 4 blocks of four 256 by 256 and
    three of 256 by 768; DoRA has a number more for each output, LS-LoRA seven for each layer."""
    from kinds import variants as of_kinds  # type: ignore[import-not-found]
    from kinds.variants import equal_ranks, parameters  # type: ignore[import-not-found]

    from mindprint.cli.shipped import MODEL

    linears = read_sizes(MODEL).linears
    assert parameters("lora", 32, linears) == 4 * 32 * (4 * 512 + 3 * 1024)
    assert parameters("dora", 32, linears) == 4 * (32 * 5120 + 4 * 256 + 2 * 768 + 256)
    assert parameters("lslora", 32, linears) == 4 * (32 * 5120 + 7 * 7)
    ranks = equal_ranks(["lora", "dora", "lslora"], 32, linears)
    counts = [parameters(kind, rank, linears) for kind, rank in ranks.items()]
    assert ranks["lora"] >= 32 and ranks["dora"] < ranks["lora"]
    assert max(counts) - min(counts) <= 0.01 * counts[0]
    monkeypatch.setattr(of_kinds, "MOST", 32)  # of a square layer half a rank is 1.6 % there
    with pytest.raises(ValueError, match="no rank from 8 to 32"):
        equal_ranks(["lora", "dora"], 8, {"q": (64, 64)})


def test_the_forms_are_every_combination_once() -> None:
    from kinds.variants import variants

    found = variants()
    assert [one.kind for one in found].count("lslora") == 8
    forms = {tuple(one.settings.values()) for one in found if one.kind == "lslora"}
    assert len(forms) == 8 and len({one.name for one in found}) == len(found) == 10


def outcome(name: str, seconds: float = 60.0, better: float = 0.0) -> Any:
    """Of the report's example, its final answers better by so much."""
    from kinds.trial import Outcome  # type: ignore[import-not-found]

    result = example()
    topics = []
    for topic in result.topics:
        questions = tuple(
            one.model_copy(update={"answers": _better(one.answers, better)})
            for one in topic.questions
        )
        topics.append(topic.model_copy(update={"questions": questions}))
    result = result.model_copy(update={"topics": tuple(topics)})
    return Outcome(name, seconds, 1000, [], [], result)


def _better(answers: Any, better: float) -> Any:
    final = answers["final"]
    accuracy = min(1.0, max(0.0, final.accuracy + better))
    return {**answers, "final": final.model_copy(update={"accuracy": accuracy})}


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of two variants, each run taking a minute of the budget and none of ours; DoRA is best at
    twice the rates."""
    from kinds import course as courses
    from kinds.course import Course  # type: ignore[import-not-found]
    from kinds.trial import Ground
    from kinds.variants import variants

    made: list[str] = []

    def make(trial: Any, ground: Any) -> Any:
        made.append(trial.name)
        best = trial.variant.name == "dora" and trial.factor == 2.0
        found = outcome(trial.name)
        scores = example().topics[0].scores
        final = scores["final"].model_copy(update={"accuracy": 1.0 if best else 0.5})
        topic = found.result.topics[0].model_copy(update={"scores": {**scores, "final": final}})
        result = found.result.model_copy(update={"topics": (topic,)})
        found = replace(found, settings=trial.settings(ground), result=result)
        found.write(ground.work / "outcomes" / f"{trial.name}.json")
        return found

    monkeypatch.setattr(courses, "made", make)
    ground = Ground(tmp_path, tmp_path, tmp_path / "c.yaml", (), "torch", tmp_path / "work")
    vars(ground)["base"] = (1e-3, 1e-4, 8, 2.0)

    def course_of(minutes: float) -> tuple[Any, list[str]]:
        made.clear()
        found = Course(
            ground=ground,
            variants=variants()[:2],
            ranks={"lora": 46, "dora": 45},
            factors=[1.0, 2.0],
            seeds=range(1, 4),
            budget=60 * minutes,
        )
        found.run()
        return found, list(made)

    return course_of


def test_rounds_are_whole_and_a_later_call_goes_on(course: Any) -> None:
    """Two sweeps and one seed of two runs are six minutes; seven hold no further round."""
    first, made = course(7)
    assert len(made) == 6 and list(first.rounds) == [1]
    assert first.left_out == ["seed 2", "seed 3"]
    assert first.chosen == {"lora": 1.0, "dora": 2.0}
    assert made[4:] == ["lora-rate1-seed1", "dora-rate2-seed1"]
    second, more = course(20)
    assert [name[-1] for name in more] == ["2", "2", "3", "3"] and not second.left_out
    assert second.spent == 10 * 60 and list(second.rounds) == [1, 2, 3]


def test_a_budget_for_nothing_says_so(course: Any) -> None:
    from kinds.tables import told  # type: ignore[import-not-found]

    third, made = course(1)
    assert len(made) == 2 and third.left_out[0] == "learning rates times 2" and not third.rounds
    text = told(third, None)
    assert "Left out" in text and "seed 1" in text and "less LoRA" not in text


def test_outcomes_of_other_settings_are_not_taken(course: Any, tmp_path: Path) -> None:
    course(7)
    path = next((tmp_path / "work" / "outcomes").iterdir())
    path.write_text(path.read_text("utf-8").replace("handoff=stack", "handoff=merge"), "utf-8")
    with pytest.raises(ValueError, match="other settings"):
        course(7)


def test_differences_are_paired_by_question_and_seed() -> None:
    """Every answer half as good again is beyond noise; the same answers are no difference."""
    from kinds.figures import figures  # type: ignore[import-not-found]

    plain = {seed: outcome(f"lora-{seed}") for seed in (1, 2)}
    worse = {seed: outcome(f"dora-{seed}", better=-0.5) for seed in (1, 2)}
    found = figures(worse, plain, None)
    assert found.over_accuracy is not None and found.over_accuracy.high < 0
    same = figures({seed: outcome("again") for seed in (1, 2)}, plain, None)
    assert same.over_accuracy is not None and same.over_accuracy.value == 0.0
    assert same.over_accuracy.low < 0 < same.over_accuracy.high
    assert figures(plain, plain, None).over_accuracy is None
    scores = [topic.scores["final"].accuracy for topic in example().topics]
    assert found.accuracy.value == pytest.approx(sum(scores) / len(scores))
    assert found.sft_step == pytest.approx(1000 * 14.2 / 96) and found.bends is None


def test_a_quick_run_measures_and_fills_its_place(
    script: Any,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As the script runs it, but in this process: LoRA and one LS-LoRA on a tiny model."""
    from kinds import trial as trials

    monkeypatch.setattr(trials, "executed", lambda words, cache: (run(words), ""))
    page, settings = tmp_path / "page.md", tmp_path / "config.yaml"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    settings.write_text("adapter: {rank: 4, alpha: 8}\nsft: {learning_rate: 5.0e-3}\n", "utf-8")
    words = ["--quick", "--only", "lslora-soft-clamp-free", "--set", "dpo.when=never"]
    words += ["--curriculum", str(curriculum), "--model", str(model), "--config", str(settings)]
    words += ["--topic", TOPIC, "--work", str(tmp_path / "work"), "--docs", str(page)]
    assert script.main([*words, "--backend", "mlx", "--jobs", "1"]) == 0
    text = page.read_text("utf-8")
    assert "| LS-LoRA, soft, clamp, free |" in text and "2 adapters, 1 seed each" in text
    assert text.endswith("<!-- end of ablation -->\n")
    kept = sorted(path.stem for path in (tmp_path / "work" / "outcomes").iterdir())
    names = ("lora", "lslora-soft-clamp-free")
    assert kept == sorted(f"{name}-rate1-seed{seed}" for name in names for seed in (1, 7))
    assert not list((tmp_path / "work" / "runs").iterdir())
    monkeypatch.setattr(trials, "executed", lambda words, cache: pytest.fail("made again"))
    capsys.readouterr()
    assert script.main([*words, "--backend", "mlx", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.strip() in text
    assert page.read_text("utf-8") == text


def test_a_run_that_fails_is_heard(
    script: Any, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--quick", "--model", str(model), "--curriculum", str(tmp_path / "none")]
    settings = tmp_path / "config.yaml"
    settings.write_text("adapter: {rank: 4, alpha: 8}\n", "utf-8")
    words += ["--config", str(settings), "--only", "lora", "--work", str(tmp_path / "work")]
    assert script.main([*words, "--backend", "mlx"]) == 1
    assert "lora-rate1-seed7 ended with 65" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("--seeds", "7"),
        ("--factors", "1", "1"),
        ("--factors", "0"),
        ("--jobs", "0"),
        ("--docs", "no.md"),
        ("--only", "lokr"),
    ],
)
def test_words_that_do_not_fit_together_are_refused(script: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main(words)
    assert ended.value.code == 2


def test_the_page_has_a_place_for_the_tables(script: Any) -> None:
    from timing import document  # type: ignore[import-not-found]

    document.check(PAGE, (script.NAME,), script.SCRIPT)
    assert math.isclose(script.FACTORS[0], 1.0)  # the configured rate is tried first

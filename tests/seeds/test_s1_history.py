"""S1's history replayed on the shipped model and author: DPO stages that ruined every topic while
the loss looked fine are rolled back, and the report says why in words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.contract import Session
from mindprint import stages
from mindprint.cli.shipped import CURRICULUM, MODEL
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Curriculum
from mindprint.errors import Interrupted
from mindprint.evals.likelihood import ended
from mindprint.events import Event
from mindprint.preferences import Drawn
from mindprint.report.files import write_reports
from mindprint.tokens.lessons import Pair
from tests.runs import Made, make_run
from tests.seeds.breakage import module

TOPIC = "unit-01-post-office/chapter-01-counter/topic-02-sorting"
SETTINGS = (
    "adapter.rank=32",
    "adapter.alpha=64",
    "sft.epochs=3",
    "sft.batch_size=8",
    "sft.learning_rate=2e-3",
    "sft.keep=last",
    "dpo.when=always",
    "dpo.batch_size=4",
    "dpo.learning_rate=1e-4",
    "dpo.sft_weight=1",
    "eval.max_tokens=40",
    "eval.few_shot=0",
)


@pytest.fixture(scope="module")
def author() -> Curriculum:
    """One topic of the shipped author, without its retention set."""
    known = read_curriculum(CURRICULUM)
    return replace(known, topics=(known.topic(TOPIC),), retention=())


@pytest.fixture(scope="module", params=["torch", "mlx"])
def taught(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, author: Curriculum
) -> tuple[str, Path]:
    """A run whose SFT is done and whose DPO is about to begin."""
    backend = str(request.param)
    path = tmp_path_factory.mktemp(backend) / "run"
    begun: list[Event] = []

    def listen(event: Event, session: Session) -> None:
        if event.kind == "stage-started" and event.stage == "dpo":
            begun.append(event)

    with pytest.raises(Interrupted):
        make_run(
            path, MODEL, backend, *SETTINGS, teach=author, listen=listen, stop=lambda: bool(begun)
        )
    shutil.rmtree(path / "checkpoints", ignore_errors=True)
    return backend, path


def gone_on(taught: tuple[str, Path], folder: Path, author: Curriculum, *settings: str) -> Made:
    """A copy of the taught run, DPO and all that follows."""
    backend, path = taught
    shutil.copytree(path, folder)
    return make_run(folder, MODEL, backend, *SETTINGS, *settings, teach=author)


def told(made: Made) -> str:
    """The verdict on DPO, which must stand in the ledger and in every report."""
    assert made.result is not None
    (dpo,) = [stage for stage in made.result.topics[0].stages if stage.name == "dpo"]
    assert not dpo.accepted
    files = write_reports(made.path)
    for file in (*files[:2], made.path / "ledger.json"):
        text = file.read_text("utf-8").replace("\N{MINUS SIGN}", "-").replace("→", "->")
        assert dpo.verdict[:60].lower() in text.lower(), f"{file.name} does not say why"
    return dpo.verdict


def test_an_honest_stage_stays(
    tmp_path: Path, taught: tuple[str, Path], author: Curriculum
) -> None:
    """The same stage unharmed: what follows is not a gate that refuses everything."""
    made = gone_on(taught, tmp_path / "run", author)
    assert made.result is not None
    topic = made.result.topics[0]
    assert topic.scores["sft"].voice_by == "calibrated"
    assert topic.stages[-1].name == "dpo" and topic.stages[-1].accepted
    # and what was measured on the way stands in the result
    voice = made.result.voice
    assert voice is not None and voice.measurable
    assert {control.kind for control in voice.controls} >= {"author", "base", "impostor", "copy"}
    assert topic.readings["sft"].prompts == voice.prompts == 44
    assert topic.changes["voice"].rose and topic.scores["base"].voice == 0
    assert all(0 < (score.first_stop or 0) < 0.1 for score in topic.scores.values())


def test_a_flipped_sign(
    tmp_path: Path,
    taught: tuple[str, Path],
    author: Curriculum,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = module(taught[0], "losses")
    real: Callable[..., Any] = losses._pair_losses
    monkeypatch.setattr(
        losses, "_pair_losses", lambda spec, ratio, *rest: real(spec, -ratio, *rest)
    )
    why = told(gone_on(taught, tmp_path / "run", author, "dpo.sft_weight=0"))
    assert "trained towards the rejected answers" in why


def test_a_learning_rate_a_thousand_times_too_high(
    tmp_path: Path, taught: tuple[str, Path], author: Curriculum
) -> None:
    why = told(gone_on(taught, tmp_path / "run", author, "dpo.learning_rate=0.1"))
    assert "broken" in why or "fell" in why or "ended early" in why


def test_a_flood_of_empty_answers(
    tmp_path: Path,
    taught: tuple[str, Path],
    author: Curriculum,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Preferences that teach to say nothing: voice was 0.00 after it, and no line said why."""
    real = stages.gather

    def silent(lesson: Any, curriculum: Any, config: Any, renderer: Any, examiner: Any) -> Drawn:
        drawn = real(lesson, curriculum, config, renderer, examiner)
        pairs = []
        for pair in drawn.pairs:
            prompt = pair.chosen.ids[: pair.chosen.mask.index(True)]
            pairs.append(Pair(ended(prompt, renderer.stop_ids[0]), pair.chosen))
        return Drawn(tuple(pairs), drawn.note)

    monkeypatch.setattr(stages, "gather", silent)
    why = told(gone_on(taught, tmp_path / "run", author, "dpo.learning_rate=1e-3"))
    assert "ended early: the probability of an empty answer rose" in why

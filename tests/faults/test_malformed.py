"""200 malformed curricula: faults with their file, or one that loads; never a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mindprint.config import resolve
from mindprint.errors import DataError, Exit
from mindprint.plan import make_plan
from mindprint.report.html import page
from mindprint.report.inline import cell
from mindprint.tokens.render import Renderer
from tests.faults.malformed import BREAKS, MOST_CALLS, judge, make
from tests.tiny import make_model, make_tokenizer
from tests.unit.report.example import example

SEEDS = 200
BATCH = 20
ACTS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(make_model(tmp_path_factory.mktemp("model"), "llama"))


def test_every_kind_has_its_turn_several_times() -> None:
    assert len(BREAKS) * 5 <= SEEDS


@pytest.mark.parametrize("start", range(0, SEEDS, BATCH))
def test_faults_or_a_curriculum(
    start: int, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = refused = 0
    renderer, config = Renderer.open(model), resolve(None, [], model__path=str(model)).config
    for seed in range(start, start + BATCH):
        root = tmp_path / str(seed)
        kinds = make(root, seed)
        capsys.readouterr()
        verdict = judge(root)
        said = capsys.readouterr()
        told = f"{seed} {kinds} {said.err[:400]}"
        assert "Traceback" not in said.err + said.out, told
        assert not ACTS.search(said.err + said.out), told
        assert verdict.calls < MOST_CALLS, (told, verdict.calls)
        if verdict.curriculum is None:
            refused += 1
            assert verdict.code == Exit.DATA, told
            assert verdict.faults and all(one.file and one.what for one in verdict.faults), told
            assert verdict.faults[0].where in said.err, told
            continue
        loaded += 1
        assert verdict.code == Exit.DONE, told
        shown(verdict.curriculum.title, [t for c in verdict.curriculum.topics for t in texts(c)])
        try:
            plan = make_plan(verdict.curriculum, config, renderer)
        except DataError as error:  # a row that this model's template cannot show
            assert error.faults, told
        else:
            assert plan.stages, told
    assert refused and loaded + refused == BATCH


def texts(topic: object) -> list[str]:
    rows = getattr(topic, "train")  # noqa: B009
    return [message.content for row in rows for message in row.messages]


def shown(title: str, said: list[str]) -> None:
    """What was read survives into the page, and none of it is markup there."""
    result = example()
    first = result.topics[0]
    asked = first.questions[0].model_copy(update={"question": "\n".join(said)})
    topic = first.model_copy(update={"questions": (asked, *first.questions[1:])})
    made = page(result.model_copy(update={"title": title, "topics": (topic,)}))
    assert "<script" not in made and not ACTS.search(made)
    for text in said:
        if "<script>" in text:
            assert "&lt;script&gt;" in made
            assert "\\<script>" in cell(text)

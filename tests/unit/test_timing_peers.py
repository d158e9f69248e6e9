"""The benchmark's peers: what they were fed is counted as they train it, and a topic is one for all
sides."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from timing import data, mlx_peers, models, topic, work  # noqa: E402
from timing.protocol import Spec  # noqa: E402
from timing.sides import (  # noqa: E402
    mindprint_topic,
    mlx_lm_answers,
    mlx_lm_lora_dpo,
    mlx_lm_sft,
    peer_topic_mlx,
)

SPEC = Spec(kind="sft", model="none", data="none", work="none")
SIDES = (mlx_lm_sft, mlx_lm_lora_dpo, mlx_lm_answers, peer_topic_mlx, mindprint_topic)


def checksum(rows: list[tuple[int, ...]]) -> int:
    fed = work.Work()
    for row in rows:
        fed.row(row, 0)
    return fed.digest


def test_what_mlx_lm_trains_is_counted_as_its_own_loss_counts_it() -> None:
    mx = pytest.importorskip("backends.mlx.framework").mx
    trainer = pytest.importorskip("mlx_lm.tuner.trainer")
    samples = data.draw("sft", 8)
    dataset = [(list(one.rows[0]), len(one.prompt)) for one in samples]
    meter, counted = mlx_peers.Meter(), 0
    for batch, lengths in trainer.iterate_batches(dataset, 4, 2048):
        mlx_lm_sft.count(meter, batch, lengths)
        _, targets = trainer.default_loss(lambda ids: mx.zeros((*ids.shape, 512)), batch, lengths)
        counted += int(targets.item())
    assert meter.fed.tokens == sum(len(one.answers[0]) for one in samples)
    assert meter.fed.tokens + meter.padding == counted
    assert meter.fed.digest == checksum([one.rows[0] for one in samples])


def test_pairs_are_counted_as_the_masks_say() -> None:
    samples = data.draw("dpo", 2)
    width = max(len(row) for one in samples for row in one.rows)
    tables = np.zeros((2, 2, width), np.int32)
    masks = np.zeros((2, 2, width), np.float32)
    for place, one in enumerate(samples):
        for side, row in enumerate(one.rows):
            tables[side, place, : len(row)] = row
            masks[side, place, len(one.prompt) : len(row)] = 1
    meter = mlx_peers.Meter()
    mlx_lm_lora_dpo.count(meter, *tables, *masks)
    assert meter.fed.rows == 4
    assert meter.fed.tokens == sum(len(answer) for one in samples for answer in one.answers)
    assert meter.fed.digest == checksum([row for one in samples for row in one.rows])


def test_a_peer_that_begins_anew_each_step_still_sees_every_batch_once_an_epoch() -> None:
    tables = [np.full((1, 3), number) for number in range(3)]
    mask = np.ones((1, 3))

    def batches(dataset: str) -> Iterator[Any]:
        assert dataset == "rows"
        while True:
            yield from ((table, table, mask, mask) for table in tables)

    meter = mlx_peers.Meter()
    iterate = mlx_lm_lora_dpo.one_after_another(meter, batches)
    seen = [int(next(iterate(dataset="rows"))[0][0, 0]) for _ in range(6)]
    assert seen == [0, 1, 2, 0, 1, 2]
    assert meter.fed.rows == 12


def test_a_step_lasts_from_its_batch_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.5, 12.0, 15.0, 19.0])
    monkeypatch.setattr(mlx_peers.time, "perf_counter", lambda: next(clock))
    meter = mlx_peers.Meter()
    with meter.training():
        for _ in range(3):
            meter.asked()
    assert meter.step_seconds() == [2.0, 3.0, 4.0]  # the first holds the making of its batch
    assert meter.seconds == 9.0


def test_the_peers_are_told_the_same_adapter() -> None:
    told = mlx_peers.lora(Spec(kind="sft", model="", data="", work="", rank=4, alpha=16))
    assert told["scale"] == 4
    assert told["keys"] == ["self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj"]
    wide = Spec(kind="sft", model="", data="", work="", targets=("k_proj", "down_proj"))
    assert mlx_peers.keys(wide) == ["self_attn.k_proj", "mlp.down_proj"]


def test_no_rows_are_left_to_validate_with(tmp_path: Path) -> None:
    data.write(tmp_path / "data", "sft", data.draw("sft", 4))
    made = mlx_peers.training_data(
        Spec(kind="sft", model="", data=str(tmp_path / "data"), work=str(tmp_path / "work"))
    )
    assert [path.name for path in made.iterdir()] == ["train.jsonl"]


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.__name__.rpartition(".")[2])
def test_an_option_that_a_side_does_not_know_is_refused(side: Any) -> None:
    with pytest.raises(ValueError, match="no option colour"):
        side.side(Spec(kind="sft", model="none", data="none", work="none", options={"colour": 1}))


def test_the_topic_is_the_same_for_every_side(tmp_path: Path) -> None:
    from mindprint.config import resolve
    from mindprint.curriculum.load import read_curriculum
    from mindprint.tokens.lessons import make_lessons, question
    from mindprint.tokens.render import Renderer

    model = tmp_path / "model"
    model.mkdir()
    models.write_tokenizer(model)
    (model / "config.json").write_text('{"model_type": "qwen2"}')
    folder = topic.write(tmp_path / "topic")
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(topic.config(SPEC)))
    curriculum, renderer = read_curriculum(folder / "curriculum"), Renderer.open(model)
    (lesson,) = make_lessons(curriculum, resolve(config).config, renderer, [topic.TOPIC])
    rows, pairs, quiz = (data.read(folder / name) for name in ("sft", "dpo", "quiz"))
    assert [row.ids for row in lesson.rows] == [one.rows[0] for one in rows]
    assert [sum(row.mask) for row in lesson.rows] == [len(one.answers[0]) for one in rows]
    made = [[pair.chosen.ids, pair.rejected.ids] for pair in lesson.pairs]
    assert made == [one.rows for one in pairs]
    asked = [renderer.prompt(question("", item.question)) for item in lesson.topic.quiz]
    assert [tuple(ids) for ids in asked] == [one.prompt for one in quiz]


def test_the_peak_of_a_worker_is_not_that_of_the_process_that_started_it() -> None:
    large = np.ones(40_000_000)  # 320 MB, every page touched
    asked = "from timing.work import peak; print(peak())"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < large.nbytes < work.peak()

"""Memory told before anything is loaded: sizes off the headers, what fits, what would fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.room import Room
from mindprint.config import resolve
from mindprint.curriculum.records import Topic
from mindprint.footprint import read_sizes
from mindprint.memory import room as rooms
from mindprint.memory.alive import Body
from mindprint.memory.estimate import Estimate, Place
from mindprint.memory.outlook import Outlook, outlook
from mindprint.memory.room import MARGIN, main_memory
from mindprint.memory.shape import factors, read_shape
from mindprint.memory.work import Work, heaviest_pairs, heaviest_rows, shortest
from mindprint.plan import Plan, PlannedStage
from mindprint.tokens.lessons import Lesson, Pair
from mindprint.tokens.rows import Row
from tests.tiny import FAMILIES, make_model

BACKENDS = ("torch", "mlx")
MIB = 1 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows weigh more than its weights: 4096 words, layers of 48."""
    return make_model(tmp_path_factory.mktemp("model"), "qwen2", vocab_size=4096)


def row(prompt: int, answer: int, start: int = 3) -> Row:
    ids = tuple(range(start, start + prompt + answer))
    return Row(ids, (False,) * prompt + (True,) * answer, False)


ROWS = (row(200, 300), *(row(60, 40) for _ in range(11)))
PAIRS = tuple(Pair(row(300, 50), row(300, 40)) for _ in range(4))


def estimate(
    folder: Path, *settings: str, place: Place | None = None, pairs: tuple[Pair, ...] = PAIRS
) -> Estimate:
    lesson = Lesson(Topic("t", "", "", (), (), ()), ROWS, (), pairs, 0, 0)
    kinds: tuple[Any, ...] = ("sft", "dpo") if pairs else ("sft",)
    stages = tuple(PlannedStage("t", kind, 12, 0, 0, 1, 1, 1, True) for kind in kinds)
    plan = Plan(stages, (lesson,), (), 12, 0, 0, 500, 0, longest_asked=100)
    config = resolve(None, ["eval.max_tokens=40", "sft.batch_size=8", *settings]).config
    return Estimate.of(plan, config, folder, place or Place("torch", "cpu", "float32"))


def looked(made: Estimate, size: int) -> Outlook:
    return outlook(made, Room(size, "free here"))


def total(made: Estimate, kind: Any, **settings: bool) -> int:
    return made.stage(kind, **settings).total


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shape_is_read_off_the_headers(tmp_path: Path, family: str) -> None:
    from transformers import AutoConfig

    made = make_model(tmp_path, family)
    config = AutoConfig.from_pretrained(made)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shape = read_shape(made, read_sizes(made))
    assert (shape.hidden, shape.inner) == (config.hidden_size, config.intermediate_size)
    assert (shape.layers, shape.vocabulary) == (config.num_hidden_layers, config.vocab_size)
    assert (shape.heads, shape.queries) == (4, 4 * head)
    assert shape.keys == config.num_key_value_heads * head
    assert shape.weights("bfloat16") == 2 * shape.parameters == shape.weights("float32") // 2


def test_an_adapter_has_as_many_numbers_as_its_tensors(folder: Path) -> None:
    found = factors(read_sizes(folder), 3, ("q_proj", "down_proj"))
    assert found.numbers == 2 * 3 * ((48 + 48) + (80 + 48))
    assert (found.layers, found.bytes) == (4, 4 * found.numbers)


def test_the_longest_rows_are_counted_together() -> None:
    found = heaviest_rows(ROWS, 4)
    assert (found.rows, found.tokens) == (4, 4 * 504)  # widths are multiples of 8
    assert found.positions == 300 + 3 * 40
    assert shortest(ROWS) == 201


def test_a_prompt_of_two_answers_counts_once() -> None:
    found = heaviest_pairs(PAIRS[:1], 1)
    assert found.shared
    assert found.tokens == 299 + 2 * 51  # the prompt's last token is each answer's first
    other = replace(PAIRS[0], rejected=row(300, 40, start=4))
    assert heaviest_pairs([other], 1).tokens == 2 * 352


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_work_takes_more_and_checkpointing_less(folder: Path, backend: str) -> None:
    sizes = read_sizes(folder)
    acting = (factors(sizes, 8, "all-linear"),)
    body = Body(read_shape(folder, sizes), acting, backend, "float32")
    small, large = Work(4, 400, 200, 40_000), Work(8, 800, 400, 80_000)
    plain = body.step(large, checkpointing=False)
    assert body.step(small, checkpointing=False) < plain
    assert body.step(large, checkpointing=True) < plain
    assert body.forward(large) < plain
    assert replace(body, dtype="bfloat16").step(large, checkpointing=False) < plain
    assert body.decoding(8, 60, 40) < body.decoding(16, 60, 40) < body.decoding(16, 60, 80)


def test_what_a_step_leaves_grows_with_the_layers_and_the_head_is_bounded(folder: Path) -> None:
    sizes = read_sizes(folder)
    shape = read_shape(folder, sizes)
    acting = (factors(sizes, 8, "all-linear"),)
    work, many = Work(4, 4000, 10, 400_000), Work(4, 400, 400, 40_000)

    def step(work: Work, **changed: int) -> int:
        body = Body(replace(shape, **changed), acting, "torch", "float32")
        return body.step(work, checkpointing=False)

    each = step(work, layers=3) - step(work, layers=2)
    assert step(work, layers=12) - step(work, layers=2) == pytest.approx(10 * each, rel=0.05)
    wide, wider = step(many, vocabulary=10**6), step(many, vocabulary=10**7)
    assert wider == wide  # a block of logits at a time


def test_another_runs_adapters_are_in_memory_too(folder: Path) -> None:
    made = estimate(folder)
    sizes = made.plan.with_past(0)
    assert sizes.footprint is None  # none was planned here
    from mindprint.footprint import Footprint

    with_past = replace(made.plan, footprint=Footprint(1, 1, 1, 0, 1, 1).with_past(5 * MIB))
    grown = replace(made, plan=with_past)
    assert total(grown, "sft") - total(made, "sft") == 5 * MIB


def test_on_a_device_the_process_does_not_count(folder: Path) -> None:
    here = estimate(folder).evaluation()
    there = estimate(folder, place=Place("torch", "cuda", "bfloat16")).evaluation()
    assert there.framework == 0 < here.framework
    assert there.weights == here.weights // 2
    assert not looked(estimate(folder, place=Place("torch", "cuda", "bfloat16")), 1 << 40).measured


def test_with_room_nothing_is_chosen_and_nothing_refused(folder: Path) -> None:
    found = looked(estimate(folder), 1 << 40)
    assert (found.checkpointed, found.choices, found.refused) == ((), (), None)
    assert [need.part for need in found.needs] == ["evaluation", "sft", "dpo"]
    assert all(what != "memory" for what, _, _ in found.lines())


def test_checkpointing_comes_on_only_where_it_decides(folder: Path) -> None:
    made = estimate(folder)
    plain, saving = total(made, "sft"), total(made, "sft", checkpointing=True)
    between = looked(made, (plain + saving) // 2)
    assert between.checkpointed == ("sft",)
    (choice,) = between.choices
    assert choice.name == "on for sft" and "without it" in choice.because
    assert between.refused is None
    assert looked(made, plain).checkpointed == ()
    off = looked(estimate(folder, "model.gradient_checkpointing=off"), (plain + saving) // 2)
    assert off.checkpointed == ()
    on = looked(estimate(folder, "model.gradient_checkpointing=on"), 1 << 40)
    assert on.checkpointed == ("sft", "dpo")
    trl = looked(estimate(folder, "run.engine=trl"), (plain + saving) // 2)
    assert trl.checkpointed == ()  # its trainers know nothing of it


def test_within_the_margin_it_is_said_and_not_refused(folder: Path) -> None:
    made = estimate(folder, "model.gradient_checkpointing=off")
    plain = total(made, "sft")
    near = looked(made, round(plain * (1 - MARGIN)) + 1)
    assert near.refused is None
    assert ("memory", "may not fit") in [line[:2] for line in near.lines()]
    assert looked(made, round(plain * (1 - MARGIN)) - MIB).refused is not None


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_largest_batch_that_fits_is_named(folder: Path, backend: str) -> None:
    off = ("model.gradient_checkpointing=off", "run.memory_check=refuse")
    place = Place(backend, "cuda", "float32")  # without the process, a small part is seen
    made = estimate(folder, *off, place=place, pairs=())
    two = replace(made, config=resolve(None, ["sft.batch_size=2", *off]).config)
    room = total(two, "sft") + 1000
    refused = looked(made, room).refused
    assert refused is not None and refused.where == "sft.batch_size"
    assert "no room for sft" in refused.what
    assert "--set sft.batch_size=2 --set sft.accumulate=4" in refused.hint
    # What is named fits, and the next larger one does not.
    named = replace(made, config=resolve(None, ["sft.batch_size=2", "sft.accumulate=4"]).config)
    larger = replace(made, config=resolve(None, ["sft.batch_size=4", "sft.accumulate=2"]).config)
    assert total(named, "sft") <= room < total(larger, "sft")


def test_where_one_row_is_too_long_its_length_is_named(folder: Path) -> None:
    off = "model.gradient_checkpointing=off"
    place = Place("torch", "cuda", "float32")
    made = estimate(folder, off, place=place, pairs=())
    alone = replace(made, config=resolve(None, ["sft.batch_size=1", off]).config)
    room = total(replace(alone, limit=400), "sft")
    refused = looked(made, room).refused
    assert refused is not None
    words = dict(word.split("=") for word in refused.hint.split() if "=" in word)
    named = int(words["sft.max_tokens"].strip("`,;"))
    assert 400 <= named < 500
    assert total(replace(alone, limit=named), "sft") <= room
    assert total(replace(alone, limit=named + 8), "sft") > room


def test_where_nothing_fits_a_smaller_model_is_named(folder: Path) -> None:
    refused = looked(estimate(folder), 1 * MIB).refused
    assert refused is not None
    assert refused.where == "model.path" and "use a smaller model" in refused.hint
    assert "run.memory_check=warn" in refused.hint


def test_who_knows_better_is_not_refused(folder: Path) -> None:
    assert looked(estimate(folder, "run.memory_check=warn"), MIB).refused is None
    # A device of its own tells when it is full; the system's memory ends the process instead.
    shrinks = ("run.on_oom=shrink",)
    device = Place("torch", "cuda", "float32")
    assert looked(estimate(folder, *shrinks, place=device), 1000).refused is None
    assert looked(estimate(folder, *shrinks), MIB).refused is not None


def test_where_nobody_tells_everything_fits(folder: Path) -> None:
    found = outlook(estimate(folder), None)
    assert found.refused is None and found.checkpointed == ()
    assert ("memory there", "not known", "the device does not tell") in found.lines()


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("123456789\n")
    monkeypatch.setattr(rooms, "CGROUP_LIMITS", (tmp_path / "none", limit))
    assert main_memory() == Room(123456789, "the container's limit")
    limit.write_text("max\n")
    assert main_memory().size > 123456789

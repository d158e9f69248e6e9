"""Memory told before anything is loaded: sizes off the headers, what fits, what would fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends.contract import AdapterSpec
from backends.room import Room
from mindprint.config import resolve
from mindprint.curriculum.records import Topic
from mindprint.evals.lengths import FEW_SHOT, OPEN, QUIZ, Asking, Call
from mindprint.footprint import read_sizes
from mindprint.memory import room as rooms
from mindprint.memory.alive import KEPT, Body
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
ASKED = Asking((Call(QUIZ, (60,) * 12),), ((100, 40),) * 12)
PAIRS = tuple(Pair(row(300, 50), row(300, 40)) for _ in range(4))


def estimate(
    folder: Path, *settings: str, place: Place | None = None, pairs: tuple[Pair, ...] = PAIRS
) -> Estimate:
    lesson = Lesson(Topic("t", "", "", (), (), ()), ROWS, (), pairs, 0, 0)
    kinds: tuple[Any, ...] = ("sft", "dpo") if pairs else ("sft",)
    stages = tuple(PlannedStage("t", kind, 12, 0, 0, 1, 1, 1, True) for kind in kinds)
    plan = Plan(stages, (lesson,), (), 12, 0, 0, 500, 0, asked=ASKED)
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
    found = factors(read_sizes(folder), AdapterSpec(rank=3, targets=("q_proj", "down_proj")))
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
    acting = (factors(sizes, AdapterSpec(rank=8)),)
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
    acting = (factors(sizes, AdapterSpec(rank=8)),)
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


def words(made: Estimate, size: int) -> tuple[str, ...]:
    """The settings that the refusal names."""
    refused = looked(made, size).refused
    assert refused is not None
    assert all(f"--set {one}" in refused.hint for one in refused.found.settings)
    return refused.found.settings


def followed(made: Estimate, folder: Path, settings: tuple[str, ...]) -> Estimate:
    """The same run with these settings besides."""
    own = [
        f"sft.batch_size={made.config.sft.batch_size}",
        f"eval.max_tokens={made.config.eval.max_tokens}",
        f"model.gradient_checkpointing={made.config.model.gradient_checkpointing}",
    ]
    config = resolve(None, [*own, *settings]).config
    limit = config.sft.max_tokens if any("sft.max_tokens" in one for one in settings) else None
    dtype = config.model.dtype if config.model.dtype != "auto" else made.place.dtype
    place = replace(made.place, dtype=dtype)
    return replace(made, config=config, place=place, limit=limit)


def largest(made: Estimate) -> int:
    return looked(made, 1 << 40).largest.total


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken but what goes by the work: so small a model's is little beside the rest."""
    monkeypatch.setitem(KEPT, "torch", replace(KEPT["torch"], least=0))


GPU = Place("torch", "cuda", "float32")
OFF = "model.gradient_checkpointing=off"
FEW = Asking((Call(QUIZ, (60,) * 32), Call(OPEN, (50,) * 32), Call(FEW_SHOT, (900,) * 32, 850)))


def test_half_the_weights_are_named_only_with_what_else_it_takes(folder: Path, plain: None) -> None:
    made = estimate(folder, OFF, place=GPU, pairs=())
    made = replace(made, plan=replace(made.plan, asked=Asking()))
    alone = replace(made, config=resolve(None, [OFF, "sft.batch_size=1"]).config)
    shortest_row = total(replace(alone, limit=201), "sft")
    settings = words(made, shortest_row - 50_000)  # no row may be cut that far in float32
    assert settings[0] == "model.dtype=bfloat16" and len(settings) > 1
    assert largest(followed(made, folder, settings[:1])) > shortest_row - 50_000
    assert largest(followed(made, folder, settings)) <= shortest_row - 50_000


def test_the_few_shot_baseline_is_given_up_before_answers_are_cut(
    folder: Path, plain: None
) -> None:
    made = estimate(folder, OFF, "sft.batch_size=1", place=GPU, pairs=())
    made = replace(made, plan=replace(made.plan, asked=FEW), limit=250)
    without = followed(made, folder, ("eval.few_shot=0",)).evaluation().total
    assert without < made.evaluation().total
    assert words(made, without) == ("eval.few_shot=0",)
    made = replace(made, plan=replace(made.plan, asked=Asking(FEW.calls[:2])))
    short = followed(made, folder, ("eval.max_tokens=300",)).evaluation().total
    long = ("eval.max_tokens=4000", "sft.batch_size=1", OFF)
    made = replace(made, config=resolve(None, long).config)
    assert words(made, short) == ("eval.max_tokens=300",)  # the baseline asks none of these


def test_each_call_of_an_evaluation_counts_with_its_own_rows(folder: Path, plain: None) -> None:
    made = estimate(folder, place=GPU)
    lone = Asking((Call(QUIZ, (60,) * 32), Call(OPEN, (900,))))

    def needed(asked: Asking) -> int:
        return replace(made, plan=replace(made.plan, asked=asked)).evaluation().passes

    together = needed(Asking((Call(QUIZ, (900,) * 32),)))
    assert needed(lone) < together / 4  # one long prompt is no batch of them
    assert needed(lone) >= needed(Asking(lone.calls[:1]))
    shared = needed(Asking((Call(FEW_SHOT, (900,) * 32, 850),)))
    assert needed(lone) < shared < together  # what all begin with runs once, and is held by each
    assert needed(Asking((), ((900, 10), (60, 40)))) < needed(Asking((), ((900, 10),) * 32))


def test_where_nothing_surely_fits_what_may_is_named(folder: Path, plain: None) -> None:
    made = estimate(folder, OFF, place=replace(GPU, dtype="bfloat16"), pairs=())
    made = replace(made, plan=replace(made.plan, asked=Asking()))
    alone = replace(made, config=resolve(None, [OFF, "sft.batch_size=1"]).config)
    room = round(0.9 * total(replace(alone, limit=201), "sft"))
    settings = words(made, room)
    refused = looked(made, room).refused
    assert refused is not None and "what may fit: `--set" in refused.hint
    named = looked(followed(made, folder, settings), room)
    assert named.refused is None and named.largest.total > room


def test_what_makes_room_for_one_part_is_told_where_another_has_none(
    folder: Path, plain: None
) -> None:
    heavy = Asking((), ((4000, 4000),) * 32)  # references that nothing makes shorter
    made = estimate(folder, OFF, place=GPU, pairs=())
    two = total(replace(made, config=resolve(None, [OFF, "sft.batch_size=2"]).config), "sft")
    made = replace(made, plan=replace(made.plan, asked=heavy))
    refused = looked(made, two).refused
    assert refused is not None and refused.where == "model.path"
    assert "use a smaller model: no setting makes room for evaluation" in refused.hint
    assert "sft.batch_size=2 --set sft.accumulate=4` makes room for sft alone" in refused.hint


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


@pytest.mark.parametrize("version", (1, 2))
def test_what_is_left_of_a_containers_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    groups = replace(rooms.GROUPS[2 - version], root=tmp_path)
    monkeypatch.setattr(rooms, "GROUPS", (groups,))
    monkeypatch.setattr(rooms, "OWN_GROUPS", tmp_path / "own")
    held = psutil.Process().memory_info().rss
    name = "0::" if version == 2 else "4:cpu,memory:"
    (tmp_path / "own").write_text(f"7:pids:/a\n{name}/a/b\n")
    (tmp_path / "a" / "b").mkdir(parents=True)

    def tell(folder: Path, limit: str, used: int, idle: int) -> None:
        (folder / groups.limit).write_text(f"{limit}\n")
        (folder / groups.used).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\n{groups.idle} {idle}\n")

    assert main_memory().told == "free of this machine's memory"
    tell(tmp_path / "a" / "b", str(40 * MIB), 30 * MIB, 8 * MIB)
    found = main_memory()
    assert found.told == "left of the container's limit"
    assert found.size == pytest.approx(18 * MIB + held, abs=2 * MIB)  # this process goes on
    tell(tmp_path / "a", str(50 * MIB), 45 * MIB, 0)  # what it is part of has less left
    assert main_memory().size == pytest.approx(5 * MIB + held, abs=2 * MIB)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        tell(folder, "max" if version == 2 else str((1 << 63) - 4096), 30 * MIB, 0)
    assert main_memory().told == "free of this machine's memory"
    (tmp_path / "own").write_text(f"{name}/seen/outside\n")  # its own is the root in here
    tell(tmp_path, str(40 * MIB), 30 * MIB, 0)
    assert main_memory().told == "left of the container's limit"

"""Operations counted from shapes: held against what PyTorch counts as it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.contract import AdapterSpec
from mindprint.config import resolve
from mindprint.curriculum.records import Topic
from mindprint.footprint import read_sizes
from mindprint.memory.estimate import Estimate, Place
from mindprint.memory.operations import Tokens, counted, forward, of_pair, of_row, step
from mindprint.memory.outlook import outlook
from mindprint.memory.shape import Factors, factors, read_shape
from mindprint.plan import Plan, PlannedStage
from mindprint.report.words import operations
from mindprint.tokens.lessons import Lesson, Pair
from mindprint.tokens.rows import Row
from tests.tiny import make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), "qwen2", vocab_size=4096)


def row(prompt: int, answer: int, start: int = 3) -> Row:
    ids = tuple(range(start, start + prompt + answer))
    return Row(ids, (False,) * prompt + (True,) * answer, False)


def test_the_bases_products_are_those_that_pytorch_counts(folder: Path) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    model.requires_grad_(False)
    given = model.get_input_embeddings()(torch.ones(2, 24, dtype=torch.long))
    with FlopCounterMode(display=False) as there:
        made = model(inputs_embeds=given.requires_grad_(True), use_cache=False).logits
    with FlopCounterMode(display=False) as back:
        made.sum().backward()
    shape, nothing = read_shape(folder, read_sizes(folder)), Factors(0, 0, 0, 0, 0)
    # Eager attention weighs every pair of a row's tokens, and logits are made everywhere.
    tokens = Tokens(fed=2 * 24, seen=2 * 24 * 24, headed=2 * 24)
    assert forward(shape, nothing, tokens) == there.get_total_flops()
    first = 2 * 48 * shape.hidden * (shape.queries + 2 * shape.keys)  # spared below an adapter
    both = there.get_total_flops() + back.get_total_flops()
    assert step(shape, nothing, tokens) + first == both


def test_tokens_attend_to_those_before_them_and_the_head_reads_what_is_trained() -> None:
    assert of_row(row(3, 2)) == Tokens(fed=5, seen=1 + 2 + 3 + 4 + 5, headed=2)


def test_a_shared_prompt_is_fed_once_and_seen_by_both_answers() -> None:
    pair = Pair(row(21, 4), row(21, 4))
    apart = of_row(pair.chosen) + of_row(pair.rejected)
    found = of_pair(pair)
    assert found == Tokens(apart.fed - 20, apart.seen - 20 * 21 // 2, apart.headed)
    assert of_pair(Pair(row(2, 30), row(2, 30))).fed == 64  # too little would be saved
    assert of_pair(Pair(row(21, 4), row(21, 4, start=9))).fed == 50


def test_an_adapter_costs_three_times_its_products_and_checkpointing_a_further_pass(
    folder: Path,
) -> None:
    sizes = read_sizes(folder)
    shape, tokens = read_shape(folder, sizes), of_row(row(60, 40))
    bare, eight = (
        Factors(0, 0, 0, 0, 0),
        factors(sizes, AdapterSpec(rank=8, targets=("q_proj", "down_proj"))),
    )
    added = step(shape, eight, tokens) - step(shape, bare, tokens)
    assert added == 3 * 2 * eight.numbers * 100
    again = step(shape, eight, tokens, checkpointing=True) - step(shape, eight, tokens)
    assert 0 < again < forward(shape, eight, tokens)


def planned(folder: Path, *settings: str) -> Estimate:
    lesson = Lesson(
        Topic("t", "", "", (), (), ()),
        (row(60, 40),) * 6,
        (),
        (Pair(row(60, 9), row(60, 9)),),
        0,
        0,
    )
    kinds: tuple[Any, ...] = ("sft", "dpo")
    stages = tuple(PlannedStage("t", kind, 6, 0, 0, 1, 3, 1, True) for kind in kinds)
    plan = Plan(stages, (lesson,), (), 12, 0, 0, 100, 0)
    config = resolve(None, ["eval.max_tokens=40", "dpo.pairs=file", *settings]).config
    return Estimate.of(plan, config, folder, Place("torch", "cpu", "float32"))


def test_a_run_costs_every_rows_steps_in_every_epoch_and_each_pairs_reference_once(
    folder: Path,
) -> None:
    made = planned(folder)
    shape, adapter = made.shape, made.training("sft")
    pair = of_pair(made.plan.lessons[0].pairs[0])
    found = counted(made)
    assert found["sft"] == 3 * 6 * step(shape, adapter, of_row(row(60, 40)))
    reference = forward(shape, adapter, pair)
    assert found["dpo"] == reference + 3 * step(shape, made.training("dpo"), pair)
    twice = replace(made, plan=replace(made.plan, lessons=made.plan.lessons * 2))
    assert counted(twice) == {kind: 2 * count for kind, count in found.items()}


def test_the_plan_tells_them_and_whose_steps_its_figures_are(folder: Path) -> None:
    native = {line[:2]: line[2] for line in outlook(planned(folder), None).lines()}
    assert ("memory", "of native steps") not in native
    total = operations(sum(counted(planned(folder)).values()))
    assert "of training alone: sft " in native["operations", total]
    found = outlook(planned(folder, "run.engine=trl"), None)
    told = {line[:2]: line[2] for line in found.lines()}
    assert "`trl`" in told["memory", "of native steps"]
    assert told["operations", total].endswith(", of native steps")
    assert found.as_json()["steps_of"] == "native"


def test_a_number_of_operations_as_people_read_it() -> None:
    assert [operations(n) for n in (7, 1200, 3_400_000, 56 * 10**11, 2 * 10**16)] == [
        "7 FLOP",
        "1.2 kFLOP",
        "3.4 MFLOP",
        "5.6 TFLOP",
        "20.0 PFLOP",
    ]

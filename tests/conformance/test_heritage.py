"""Adapters that act from the start, and topics that are taken away: exact on both backends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from backends import lora, peft_files
from backends.contract import AdapterSpec, Session
from mindprint import ledger as ledgers
from mindprint.disk.sealed import adapter_digest, read_json
from mindprint.errors import Interrupted
from mindprint.events import Event
from mindprint.footprint import read_sizes
from mindprint.fork import Past
from mindprint.heritage import Heritage
from mindprint.inputs import Inputs, Origin, settled, write_inputs
from mindprint.ledger import Entry
from mindprint.rundir import RunDir
from mindprint.stage_folder import is_bare
from mindprint.topic_folder import odd_stage
from mindprint.without import Without
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.runs import Made, curriculum, make_run, tree_bytes
from tests.tiny import make_tokenizer, random_batch
from tests.unit.test_sameness import inputs

KEEP_ALL = ("gate.rollback=false", "dpo.when=never", "eval.retention=off", "sft.epochs=1")
SHAPE = ("adapter.rank=3", "adapter.alpha=6", "adapter.targets=[q_proj,down_proj]")
TOPICS = tuple(f"unit/chapter/topic-{number}" for number in range(3))
# Sums of a few dozen products of order one in float32, in another order.
NOISE = 2e-5


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


def with_inputs(made: Made, model_id: str, **changed: object) -> Inputs:
    """What `mindprint train` writes beside what `make_run` does."""
    own = inputs(
        model=str(made.resolved.config.model.path),
        topics=tuple(lesson.topic.id for lesson in made.plan.lessons),
        config=settled(made.resolved),
        origins=made.resolved.origins,
        model_id=model_id,
        **changed,
    )
    write_inputs(made.path, own)
    return own


def trained(path: Path, model: Path, backend: str, *settings: str, topics: int = 3) -> Made:
    made = make_run(path, model, backend, *KEEP_ALL, *settings, teach=curriculum(topics))
    with_inputs(made, ledgers.read(RunDir(path)).model_id)
    return made


def logits(session: Session) -> NDArray[np.float64]:
    batch = random_batch(np.random.default_rng(5), (9, 17, 6))
    real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
    return session.logits(batch)[real].astype(np.float64)


def worn(session: Session, folders: Sequence[Path]) -> NDArray[np.float64]:
    for number, folder in enumerate(folders):
        session.adapters.load(folder, f"worn {number}", frozen=True)
    return logits(session)


def delta(folder: Path, path: str) -> NDArray[np.float64]:
    """What an adapter adds to one layer's weight, in float64."""
    spec, held = peft_files.read(folder)
    a, b = held[lora.name_a(path)], held[lora.name_b(path)]
    return spec.scale * (b.astype(np.float64) @ a.astype(np.float64))


def dropped(path: Path, model: Path, topic: str, place: Path) -> Without:
    """The new run's adapters and its ledger, as `drop` lays them out."""
    without = Without.of(path, topic)
    origin = without.origin.model_copy(update={"topics": without.topics})
    Past(without.run, without.ledger, origin, without.began_with).lay_out(place, False)
    without.lay_bare(RunDir(place))
    without.write_ledger(RunDir(place), model)
    return without


def acting(run: Path) -> list[Path]:
    return [run / entry.folder for entry in ledgers.read(RunDir(run)).acting()]


def test_a_dropped_topic_leaves_the_others_as_they_are(
    tmp_path: Path, backend: str, model: Path, open_session: OpenSession
) -> None:
    run = trained(tmp_path / "run", model, backend, "handoff=stack").path
    dropped(run, model, TOPICS[1], tmp_path / "new")
    session = open_session(backend, model)
    names = ledgers.attach(session, RunDir(tmp_path / "new"))
    assert names == (f"{TOPICS[0]}:sft", f"{TOPICS[2]}:sft")
    left = logits(session)
    others = [folder for folder in acting(run) if TOPICS[1] not in str(folder)]
    assert np.array_equal(left, worn(open_session(backend, model), others))
    assert np.abs(left - worn(open_session(backend, model), acting(run))).max() > 0.01


def test_a_topic_in_the_one_adapter_of_all_is_subtracted(
    tmp_path: Path, backend: str, model: Path, open_session: OpenSession
) -> None:
    """The oracle: base weights plus the other topics' changes in float64, as a model of its own."""
    run = trained(tmp_path / "run", model, backend, "handoff=continue").path
    products = [run / f"topics/{topic}/sft" for topic in TOPICS]
    new = tmp_path / "new"
    without = dropped(run, model, TOPICS[1], new)
    ledger = ledgers.read(RunDir(new))
    assert ledger.handoff == "stack" and without.topics == (TOPICS[0], TOPICS[2])
    assert [(one.topic, one.stage) for one in ledger.acting()] == [
        (TOPICS[0], "sft"),
        (TOPICS[2], "difference"),
    ]
    assert ledger.entries[-1].rank == 2 * ledger.entries[0].rank
    folder = shutil.copytree(model, tmp_path / "oracle")
    weights = load_file(folder / "model.safetensors")
    for path in read_sizes(model).linears:
        first, second, third = (delta(product, path) for product in products)
        wanted = first + (third - second)
        found = sum(delta(place, path) for place in acting(new))
        assert np.abs(found - wanted).max() <= 1e-6 * np.abs(third).max()  # float32 of scale B
        name = f"{path}.weight"
        weights[name] = (weights[name].astype(np.float64) + wanted).astype(np.float32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    wanted_logits = logits(open_session(backend, folder))
    session = open_session(backend, model)
    ledgers.attach(session, RunDir(new))
    scale = np.abs(wanted_logits).max()
    assert np.abs(logits(session) - wanted_logits).max() <= NOISE * scale
    whole = worn(open_session(backend, model), products[2:])
    assert np.abs(whole - wanted_logits).max() > 100 * NOISE * scale
    for path in read_sizes(model).linears:
        for made in (lora.name_a(path), lora.name_b(path)):
            axis = 1 if made == lora.name_a(path) else 0
            held = directions(peft_files.read(new / ledger.entries[-1].folder)[1][made], axis)
            gone = directions(peft_files.read(products[1])[1][made], axis)
            # concatenated, each of the dropped state's rows and columns would stand there as it is
            assert np.abs(gone @ held.T).max() < 0.9999


def directions(tensor: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """Rows of A, columns of B, each of norm 1."""
    rows = tensor.astype(np.float64) if axis else tensor.T.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-30), np.float64)


def test_no_stage_keeps_what_a_dropped_topic_changed(tmp_path: Path, model: Path) -> None:
    """... nor one that came later and was rolled back: its adapter was trained on from it."""
    run = trained(tmp_path / "run", model, "torch", "handoff=continue").path
    held = ledgers.read(RunDir(run))
    last = held.entries[-1].model_copy(update={"accepted": False})
    ledgers.write(RunDir(run), held.model_copy(update={"entries": (*held.entries[:-1], last)}))
    new = tmp_path / "new"
    without = dropped(run, model, TOPICS[1], new)
    assert without.tainted == (TOPICS[2],) and without.steps == ()
    left = [file.relative_to(new).as_posix() for file in new.rglob("*.safetensors")]
    assert left == [f"topics/{TOPICS[0]}/sft/adapter_model.safetensors"]
    stage = new / "topics" / TOPICS[2] / "sft"
    assert is_bare(stage) and odd_stage(stage) is None
    # which a fork of the new run does not take for a fault
    origin = without.origin.model_copy(update={"topics": without.topics})
    past = Past(RunDir(new), ledgers.read(RunDir(new)), origin, without.began_with)
    assert past.lay_out(tmp_path / "fork", False) == ()


def heir(past: Path, place: Path, topics: tuple[str, ...] = TOPICS[:1]) -> None:
    """A run folder that begins with what the run `past` has in force, as `train --from` lays it
    out."""
    place.mkdir()
    heritage = Heritage.of(past, None)
    heritage.copy(place)
    write_inputs(place, replace(heritage.inputs, began_with=heritage.origin, topics=topics))


def strange(path: Path, model: Path, session: Session) -> Path:
    """A run whose ledger holds an adapter that mindprint did not train."""
    rng = np.random.default_rng(3)
    folder, linears = path / "adapter", read_sizes(model).linears
    spec = AdapterSpec(rank=3, alpha=6.0)
    tensors = {
        name: (0.1 * rng.standard_normal(shape)).astype(np.float32)
        for layer in lora.select(linears, ("q_proj", "down_proj"))
        for name, shape in (
            (lora.name_a(layer), (3, linears[layer][1])),
            (lora.name_b(layer), (linears[layer][0], 3)),
        )
    }
    peft_files.write(folder, spec, tensors, base="x", linears=linears)
    fields = {"kind": "lora", "rank": 3, "alpha": 6.0, "scaling": "standard", "replaces": None}
    entry = Entry.model_validate(
        {
            **fields,
            "name": "theirs:adopted",
            "topic": "theirs",
            "stage": "adopted",
            "folder": "adapter",
            "sha256": adapter_digest(folder),
            "backend": "torch",
            "before": None,
            "after": None,
            "accepted": True,
            "verdict": "",
        }
    )
    ledgers.write(
        RunDir(path),
        ledgers.Ledger(model_id=session.model_id, handoff="stack", entries=(entry,)),
    )
    origin = Origin(run="theirs", ledger="", topics=("theirs",))
    own = inputs(curriculum=None, topics=(), model_id=session.model_id, began_with=origin)
    write_inputs(path, own)
    return path


def between_topics(topic: str) -> Callable[[Event, Session], None]:
    def listen(event: Event, session: Session) -> None:
        if event.kind == "topic-started" and event.topic == topic:
            raise Interrupted("stopped between two topics")

    return listen


@pytest.mark.parametrize("handoff", ["stack", "continue"])
def test_training_goes_on_over_an_adapter_of_others(
    tmp_path: Path, backend: str, model: Path, open_session: OpenSession, handoff: str
) -> None:
    """... to the same end whether it is stopped on the way or not; `continue` trains that very
    adapter."""
    past = strange(tmp_path / "past", model, open_session(backend, model))
    settings = (*KEEP_ALL, *SHAPE, f"handoff={handoff}", "sft.learning_rate=1e-6")
    for name in ("whole", "stopped"):
        heir(past, tmp_path / name)
    make_run(tmp_path / "whole", model, backend, *settings)
    with pytest.raises(Interrupted):
        make_run(tmp_path / "stopped", model, backend, *settings, listen=between_topics(TOPICS[1]))
    made = make_run(tmp_path / "stopped", model, backend, *settings)
    assert tree_bytes(tmp_path / "stopped") == tree_bytes(tmp_path / "whole")
    ledger = ledgers.read(RunDir(tmp_path / "whole"))
    assert [one.topic for one in ledger.entries] == ["theirs", *TOPICS[:2]]
    assert "began with 1 adapter trained elsewhere: theirs" in made.notices()
    # what is asked before the first topic is asked with the adapter, as the base without it
    base, before = (
        read_json(tmp_path / "whole" / place)["answers"]
        for place in (f"base/{TOPICS[0]}.json", f"topics/{TOPICS[0]}/before/eval.json")
    )
    assert [one["nll"] for one in base] != [one["nll"] for one in before]
    session = open_session(backend, model)
    ledgers.attach(session, RunDir(tmp_path / "whole"))
    # so small a rate leaves the model where it began: with the adapter
    began = worn(open_session(backend, model), acting(past))
    assert np.abs(logits(session) - began).max() <= 1e-3 * np.abs(began).max()
    bare = logits(open_session(backend, model))
    assert np.abs(began - bare).max() > 0.1
    names = [one.name for one in ledger.acting()]
    if handoff == "continue":
        assert names == [f"{TOPICS[1]}:sft"] and ledger.entries[1].replaces == "theirs:adopted"
    else:
        assert names == ["theirs:adopted", f"{TOPICS[0]}:sft", f"{TOPICS[1]}:sft"]


def test_the_last_of_several_is_trained_on_over_the_others(
    tmp_path: Path, backend: str, model: Path, open_session: OpenSession
) -> None:
    """`continue` over a stacked past: what lies below the last stays, also where it is resumed."""
    past = trained(tmp_path / "past", model, backend, "handoff=stack", *SHAPE, topics=2).path
    teach = replace(curriculum(4), topics=curriculum(4).topics[2:])
    heir(past, tmp_path / "run", TOPICS[2:])
    settings = (*KEEP_ALL, *SHAPE, "handoff=continue")
    third = teach.topics[1].id
    with pytest.raises(Interrupted):
        make_run(
            tmp_path / "run", model, backend, *settings, teach=teach, listen=between_topics(third)
        )
    seen: list[tuple[str, ...]] = []

    def listen(event: Event, session: Session) -> None:
        if event.kind == "stage-started":
            seen.append(session.adapters.active())

    make_run(tmp_path / "run", model, backend, *settings, teach=teach, listen=listen)
    assert seen == [(f"{TOPICS[0]}:sft", f"{TOPICS[2]}:sft")]
    names = [one.name for one in ledgers.read(RunDir(tmp_path / "run")).acting()]
    assert names == [f"{TOPICS[0]}:sft", f"{third}:sft"]

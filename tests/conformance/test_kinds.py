"""DoRA and LS-LoRA attached, looked at, frozen, saved and taken off: as LoRA is, on both backends.

Two families: one with biases, which no magnitude may scale, and one with fused projections.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from backends import lora
from backends.contract import AdapterSpec, GenerateSpec, Params, Session, Spline
from backends.errors import AdapterError
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.dense import Acting, Dense
from tests.conformance.kinds import (
    ALL,
    DORA,
    FORMS,
    LORA,
    LSLORA,
    NEW,
    ROUNDING,
    apart,
    assign,
    check_begins_as_lora,
    check_follows_its_form,
    narrowed,
    put,
    same,
)
from tests.conformance.trained import real, train
from tests.tiny import pack, random_batch

CHAINS = (
    ("lora", "dora"),
    ("dora", "lslora"),
    ("soft", "dora"),
    ("dora", "dora"),
    ("lslora", "lora"),
    ("lora", "dora", "lslora", "dora", "soft", "lora"),
)


@pytest.fixture(params=["qwen2", "phi3"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=NEW)
def spec(request: pytest.FixtureRequest) -> AdapterSpec:
    return NEW[request.param]


@pytest.fixture(scope="module")
def dense_of(model_of: ModelFolder) -> Callable[[str], Dense]:
    return cache(lambda family: Dense(model_of(family)))


@pytest.fixture
def dense(dense_of: Callable[[str], Dense], family: str) -> Dense:
    return dense_of(family)


BATCH = random_batch(np.random.default_rng(1))


def test_a_fresh_adapter_changes_nothing(shared: Session, spec: AdapterSpec) -> None:
    base = shared.logits(BATCH)
    shared.adapters.add(spec, "topic")
    fresh = shared.logits(BATCH)
    if spec.kind == "dora":  # g is 1, but the bias is added after the product with it
        assert apart(fresh, base) < ROUNDING
    else:
        assert np.array_equal(fresh, base)


def test_over_a_past_a_fresh_adapter_changes_nothing(shared: Session, spec: AdapterSpec) -> None:
    for name, kind in (("a", "lora"), ("b", "dora"), ("c", "soft")):
        put(shared, name, ALL[kind], seed=2)
        shared.adapters.freeze(name)
    past = shared.logits(BATCH)
    shared.adapters.add(spec, "topic")
    assert apart(shared.logits(BATCH), past) < ROUNDING


def test_magnitudes_begin_as_the_norms_of_the_weight_below(shared: Session, dense: Dense) -> None:
    """Of the weight with the past in it: those of the file alone would scale the past away."""
    acting: list[tuple[AdapterSpec, Params]] = []
    for name, kind in (("a", "lora"), ("b", "dora"), ("c", "lslora")):
        acting.append((ALL[kind], put(shared, name, ALL[kind], seed=3, size=0.3)))
        shared.adapters.freeze(name)
    shared.adapters.add(DORA, "topic")
    for name, found in shared.adapters.parameters().items():
        if name.endswith(".lora_magnitude_vector"):
            path = name.rsplit(".", 1)[0]
            wanted = np.linalg.norm(dense.weight(path, acting), axis=1)
            # The norm is found without the dense sum, from squares that cancel a little.
            assert np.abs(found / wanted - 1).max() < 1e-5
            assert np.abs(np.linalg.norm(dense.weight(path), axis=1) / wanted - 1).max() > 0.1


def test_trainable_tensors_are_those_of_the_kind(shared: Session, spec: AdapterSpec) -> None:
    prints = shared.adapters.base_fingerprint()
    shared.adapters.add(spec, "topic")
    found = shared.adapters.trainable()
    held = shared.adapters.parameters()
    wanted: dict[str, tuple[int, ...]] = {}
    for path in lora.paths_of(found):
        out, inputs = found[lora.name_b(path)][0], found[lora.name_a(path)][1]
        wanted |= lora.shapes(spec, path, out, inputs)
    assert found == wanted
    assert {name: array.shape for name, array in held.items()} == wanted
    assert {str(array.dtype) for array in held.values()} == {"float32"}
    assert shared.adapters.base_fingerprint() == prints
    shared.adapters.unload("topic")
    shared.adapters.add(replace(spec, targets=("down_proj",)), "narrow")
    assert len(lora.paths_of(shared.adapters.trainable())) == 2  # one in each layer
    for name, array in shared.adapters.parameters().items():
        assert np.array_equal(array, held[name])  # by seed and path alone


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_adapters_stacked_are_the_dense_chain(
    shared: Session, dense: Dense, chain: tuple[str, ...]
) -> None:
    """Whichever of them act, and whether the last one trains or is frozen like the others."""
    acting: list[tuple[AdapterSpec, Params]] = []
    for place, kind in enumerate(chain):
        name = f"{place}-{kind}"
        acting.append((ALL[kind], put(shared, name, ALL[kind], seed=20 + place)))
        near(shared, dense, acting)
        logits = shared.logits(BATCH)
        shared.adapters.freeze(name)
        assert apart(shared.logits(BATCH), logits) < ROUNDING
    names = shared.adapters.active()
    wanted = near(shared, dense, acting)
    for left_out in (0, len(chain) // 2, len(chain) - 1):
        some = [place for place in range(len(chain)) if place != left_out]
        with shared.adapters.using([names[place] for place in some]):
            found = near(shared, dense, [acting[place] for place in some])
            assert apart(found, wanted) > 1e-3
    shared.adapters.unload(names[0])
    near(shared, dense, acting[1:])


def near(shared: Session, dense: Dense, acting: Acting) -> np.ndarray:
    """Our logits are the oracle's; gives them back."""
    found = real(BATCH, shared.logits(BATCH))
    assert apart(found, real(BATCH, dense.logits(BATCH, acting))) < ROUNDING
    return found


def test_using_and_unload_give_the_base_back_bit_for_bit(
    shared: Session, spec: AdapterSpec
) -> None:
    base, prints = shared.logits(BATCH), shared.adapters.base_fingerprint()
    put(shared, "past", spec, seed=4)
    shared.adapters.freeze("past")
    past = shared.logits(BATCH)
    put(shared, "topic", spec, seed=5)
    both = shared.logits(BATCH)
    assert shared.adapters.base_fingerprint() == prints
    with shared.adapters.using(()):
        assert np.array_equal(shared.logits(BATCH), base)
    with shared.adapters.using(("past",)):
        assert np.array_equal(shared.logits(BATCH), past)
    with shared.adapters.using(("past", "topic")):
        assert np.array_equal(shared.logits(BATCH), both)
    assert np.array_equal(shared.logits(BATCH), both)
    assert min(apart(both, past), apart(past, base)) > 1e-3
    shared.adapters.unload("past")
    shared.adapters.unload("topic")
    assert shared.adapters.trainable() == {}
    assert np.array_equal(shared.logits(BATCH), base)
    assert shared.adapters.base_fingerprint() == prints


def test_save_and_load_are_exact(shared: Session, spec: AdapterSpec, tmp_path: Path) -> None:
    params = put(shared, "topic", replace(spec, dropout=0.1), seed=6)
    logits = shared.logits(BATCH)
    shared.adapters.save(tmp_path / "a")
    shared.adapters.unload("topic")
    shared.adapters.load(tmp_path / "a", "topic")
    assert same(shared.adapters.parameters(), params)
    assert np.array_equal(shared.logits(BATCH), logits)
    shared.adapters.freeze("topic")
    frozen = shared.logits(BATCH)
    shared.adapters.save(tmp_path / "b", "topic")
    shared.adapters.unload("topic")
    shared.adapters.load(tmp_path / "b", "topic", frozen=True)
    assert shared.adapters.trainable() == {}
    assert np.array_equal(shared.logits(BATCH), frozen)
    assert apart(frozen, logits) < ROUNDING
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_adapter_that_does_not_fit_is_refused(
    shared: Session, spec: AdapterSpec, tmp_path: Path
) -> None:
    """Every tensor of a kind is looked at before anything is attached."""
    from safetensors.numpy import load_file, save_file

    put(shared, "topic", spec, seed=7)
    shared.adapters.save(tmp_path)
    shared.adapters.unload("topic")
    file = tmp_path / "adapter_model.safetensors"
    whole = load_file(file)
    for own in [name for name in whole if ".layers.1.mlp.down_proj." in name]:
        name = own.removeprefix("base_model.model.").removesuffix(".weight")
        save_file({n: t for n, t in whole.items() if n != own}, file)
        for frozen in (True, False):
            with pytest.raises(AdapterError, match=rf"`{name}` is None, the model needs"):
                shared.adapters.load(tmp_path, "topic", frozen=frozen)
        longer = np.concatenate([whole[own], whole[own]])
        save_file({**whole, own: longer}, file)
        with pytest.raises(AdapterError, match=rf"`{name}` is \(.*\), the model needs \("):
            shared.adapters.load(tmp_path, "topic")
    assert shared.adapters.active() == ()


def test_snapshot_and_restore_are_exact(shared: Session, spec: AdapterSpec) -> None:
    put(shared, "past", spec, seed=8)
    shared.adapters.freeze("past")
    params = put(shared, "topic", spec, seed=9)
    state, logits = shared.adapters.snapshot(), shared.logits(BATCH)
    train(shared, BATCH, steps=2)
    assert not np.array_equal(shared.logits(BATCH), logits)
    moved = shared.adapters.parameters()
    assert all(not np.array_equal(moved[name], params[name]) for name in params)
    shared.adapters.restore(state)
    assert np.array_equal(shared.logits(BATCH), logits)
    shared.adapters.unload("topic")
    shared.adapters.unload("past")
    put(shared, "other", LORA, seed=10)
    shared.adapters.restore(state)
    assert shared.adapters.active() == ("past", "topic")
    assert same(shared.adapters.parameters(), params)
    assert np.array_equal(shared.logits(BATCH), logits)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.interpolation}-{form.outside}")
def test_a_spline_begins_as_lora(shared: Session, form: Spline) -> None:
    check_begins_as_lora(shared, form, BATCH)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.interpolation}-{form.outside}")
def test_every_form_is_the_oracles(shared: Session, dense: Dense, form: Spline) -> None:
    check_follows_its_form(shared, dense, form, BATCH)


def test_nearly_all_inputs_lie_outside_the_narrow_grid(shared: Session, dense: Dense) -> None:
    """Of the grids that the checks above go through: they see far more than small inputs."""
    spec = replace(LSLORA, spline=narrowed(FORMS[0], 1e-3))
    params = put(shared, "bent", spec, seed=11)
    dense.logits(BATCH, [(spec, params)])
    assert dense.outside > 0.95


def test_a_spline_without_an_input_adds_nothing(shared: Session) -> None:
    """phi(0) = 0 whatever was learned: else a bias would be added where B A x is 0."""
    base = shared.logits(BATCH)
    for kind in ("lslora", "soft"):
        params = put(shared, kind, ALL[kind], seed=12)
        silent = {n: 0 * v if n.endswith("lora_B") else v for n, v in params.items()}
        assign(shared, silent)
        assert apart(shared.logits(BATCH), base) < 1e-6  # two float32 sums of the same terms
        shared.adapters.unload(kind)


def test_greedy_answers_are_the_likeliest_tokens(shared: Session, spec: AdapterSpec) -> None:
    """Decoding goes its own way through the layers, over one frozen adapter and one that trains."""
    put(shared, "past", ALL["lslora" if spec.kind == "dora" else "dora"], seed=13)
    shared.adapters.freeze("past")
    put(shared, "topic", spec, seed=14)
    prompts = [[5, 9, 200, 31], [7, 8]]
    answers = shared.generate(prompts, GenerateSpec(max_tokens=5, stop_ids=()))
    for prompt, answer in zip(prompts, answers, strict=True):
        row = np.array([*prompt, *answer.ids])
        logits = shared.logits(pack([row], [1]))[0, len(prompt) - 1 : -1]
        lead = logits.max(axis=-1) - logits[np.arange(5), list(answer.ids)]
        assert lead.max() < 1e-4  # a tie, at most, to the rounding of logits


@pytest.mark.parametrize("family", ["qwen2"])
def test_in_bfloat16_the_noise_is_that_of_lora(
    open_session: OpenSession, model_of: ModelFolder, backend: str, family: str, spec: AdapterSpec
) -> None:
    """Norms, splines and masters are float32 there too: activations alone are rounded."""
    folder = model_of(family, dtype="bfloat16")
    session, oracle = open_session(backend, folder, dtype="bfloat16"), Dense(folder)
    noise = []
    for one in (LORA, spec):
        params = put(session, "topic", one, seed=15)
        assert {str(array.dtype) for array in session.adapters.parameters().values()} == {"float32"}
        found = real(BATCH, session.logits(BATCH))
        noise.append(apart(found, real(BATCH, oracle.logits(BATCH, [(one, params)]))))
        session.adapters.freeze("topic")
        frozen = real(BATCH, session.logits(BATCH))
        noise.append(apart(frozen, real(BATCH, oracle.logits(BATCH, [(one, params)]))))
        session.adapters.unload("topic")
    assert 1e-4 < noise[0] < 0.1
    assert max(noise[2:]) < 3 * max(noise[:2])

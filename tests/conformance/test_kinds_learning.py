"""What trains in DoRA and LS-LoRA, and how: losses, gradients, steps, resuming. Both backends."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backends import lora
from backends.contract import (
    AdapterSpec,
    Batch,
    Learner,
    Objective,
    OptimizerSpec,
    Params,
    Session,
    Spline,
    StepStats,
)
from tests.conformance.conftest import ModelFolder
from tests.conformance.dense import Acting, Dense, penalty
from tests.conformance.kinds import (
    DORA,
    FORMS,
    LSLORA,
    NEW,
    assign,
    drawn,
    endings,
    norm_of,
    put,
    same,
)
from tests.conformance.oracle import LN2
from tests.conformance.trained import train
from tests.tiny import part, preference_batch, random_batch, window_of, with_reference

SFT, DPO = Objective("sft"), Objective("dpo")
BATCH = random_batch(np.random.default_rng(31))
WINDOW = window_of(BATCH)
FEW = ("down_proj", "o_proj")


@pytest.fixture(params=["qwen2"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=NEW)
def spec(request: pytest.FixtureRequest) -> AdapterSpec:
    return NEW[request.param]


@pytest.mark.parametrize("family", ["qwen2", "phi3"])
def test_sft_lowers_the_loss(shared: Session, spec: AdapterSpec) -> None:
    shared.adapters.add(spec, "topic")
    before = shared.adapters.parameters()
    losses = train(shared, BATCH, steps=12)
    assert losses[-1] < 0.7 * losses[0]
    after = shared.adapters.parameters()
    assert not [name for name in before if np.array_equal(after[name], before[name])]


def test_dpo_starts_at_ln2_and_raises_the_margin(shared: Session, spec: AdapterSpec) -> None:
    """Over a frozen adapter of another kind, and with a bent spline, whose penalty is no part of
    the objective's loss."""
    put(shared, "past", NEW["lslora" if spec.kind == "dora" else "dora"], seed=32)
    shared.adapters.freeze("past")
    params = put(shared, "topic", spec, seed=33)
    pairs = with_reference(preference_batch(np.random.default_rng(34)), shared)
    learner = shared.learner(DPO, OptimizerSpec())
    stats = [_step(learner, pairs, 2e-3) for _ in range(8)]
    first, last = stats[0], stats[-1]
    assert abs(first.loss - LN2) < 1e-4  # float32 sums of about 100 nats: 1e-5 each
    assert abs(first.margin) < 1e-4
    assert first.penalty == pytest.approx(penalty(spec, params), rel=1e-5)
    assert last.loss < first.loss
    assert last.margin > 0.05


def test_parts_of_a_window_add_up(shared: Session, spec: AdapterSpec) -> None:
    """1 x 8 rows and 4 x 2 rows: the same loss, penalty and gradient."""
    params = put(shared, "topic", spec, seed=35)
    learner = shared.learner(SFT, OptimizerSpec())
    loss, whole = learner.gradients(BATCH, WINDOW)
    pieces = [part(BATCH, slice(start, start + 2)) for start in range(0, 8, 2)]
    shares = [learner.gradients(piece, WINDOW) for piece in pieces]
    assert abs(sum(share for share, _ in shares) - loss) < 1e-5 * loss  # float32 sums
    for name, wanted in whole.items():
        summed = np.sum([gradient[name] for _, gradient in shares], axis=0)
        assert norm_of({name: summed - wanted}) < 1e-5 * norm_of(whole)
    stats = [learner.accumulate(piece, WINDOW) for piece in pieces]
    told = sum(one.loss for one in stats) + sum(one.penalty for one in stats)
    assert told == pytest.approx(loss, rel=1e-5)
    whole_penalty = penalty(spec, params)
    assert sum(one.penalty for one in stats) == pytest.approx(whole_penalty, rel=1e-5)
    shares_of = [one.penalty / max(whole_penalty, 1e-30) for one in stats]
    if spec.spline is not None:
        assert shares_of == pytest.approx([one.tokens / WINDOW.tokens for one in stats], rel=1e-5)
    norm = learner.apply(0.0, None)
    assert norm == pytest.approx(norm_of(whole), rel=1e-5)


def test_pairs_share_the_penalty_by_their_number(shared: Session) -> None:
    params = put(shared, "topic", LSLORA, seed=36)
    pairs = with_reference(preference_batch(np.random.default_rng(37)), shared)
    window = replace(window_of(pairs), pairs=16, tokens=1000)
    stats = shared.learner(DPO, OptimizerSpec()).accumulate(pairs, window)
    assert stats.penalty == pytest.approx(penalty(LSLORA, params) * 4 / 16, rel=1e-5)


def test_recomputed_activations_change_nothing(shared: Session, spec: AdapterSpec) -> None:
    put(shared, "topic", spec, seed=38)
    kept, again = (
        shared.learner(SFT, OptimizerSpec(), checkpointing=way).gradients(BATCH, WINDOW)
        for way in (False, True)
    )
    assert again[0] == pytest.approx(kept[0], rel=1e-6)
    for name, wanted in kept[1].items():
        assert norm_of({name: again[1][name] - wanted}) < 1e-6 * norm_of(kept[1])


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_resumed_learner_is_the_uninterrupted_one(
    shared: Session, spec: AdapterSpec, dropout: float, tmp_path: Path
) -> None:
    """3 steps, save, off, load, 3 steps == 6 steps, bit for bit; over a frozen past."""
    put(shared, "past", DORA, seed=39)
    shared.adapters.freeze("past")
    shared.adapters.add(replace(spec, dropout=dropout), "topic")
    batches = [random_batch(np.random.default_rng(40 + index)) for index in range(6)]
    learner = shared.learner(SFT, OptimizerSpec(seed=5))
    for batch in batches[:3]:
        _step(learner, batch, 1e-2)
    shared.adapters.save(tmp_path)
    state = learner.state()
    losses = [_step(learner, batch, 1e-2).loss for batch in batches[3:]]
    wanted = shared.adapters.parameters()
    shared.adapters.unload("topic")
    shared.adapters.load(tmp_path, "topic")
    learner = shared.learner(SFT, OptimizerSpec(seed=5))
    learner.load_state(state)
    assert [_step(learner, batch, 1e-2).loss for batch in batches[3:]] == losses
    assert same(shared.adapters.parameters(), wanted)


def test_dropout_acts_in_training_alone(shared: Session, spec: AdapterSpec) -> None:
    put(shared, "topic", replace(spec, dropout=0.3), seed=46)
    logits = shared.logits(BATCH)
    learner = shared.learner(SFT, OptimizerSpec())
    first, second = (learner.accumulate(BATCH, WINDOW).loss for _ in range(2))
    assert first != second
    assert np.array_equal(shared.logits(BATCH), logits)
    pairs = with_reference(preference_batch(np.random.default_rng(47)), shared)
    preferred = shared.learner(DPO, OptimizerSpec()).accumulate(pairs, window_of(pairs))
    assert abs(preferred.margin) < 1e-4  # float32 sums over two batch shapes


def test_values_and_scales_step_at_their_own_rate_and_do_not_decay(shared: Session) -> None:
    """AdamW (Loshchilov and Hutter 2019) in float64: `rate` times the step on the spline, and
    weight decay on the factors alone."""
    spec = replace(LSLORA, spline=Spline(rate=3.0), targets=FEW)
    params = {n: a.astype(np.float64) for n, a in put(shared, "topic", spec, seed=48).items()}
    learner = shared.learner(SFT, OptimizerSpec(weight_decay=0.1))
    m = {name: np.zeros_like(array) for name, array in params.items()}
    v = {name: np.zeros_like(array) for name, array in params.items()}
    rng = np.random.default_rng(49)
    for step, rate in enumerate((1e-2, 3e-3, 1e-2), start=1):
        gradient = {n: rng.standard_normal(a.shape).astype(np.float32) for n, a in params.items()}
        learner.add_gradients(gradient)
        learner.apply(rate, None)
        for name, g in gradient.items():
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * np.square(g.astype(np.float64))
            way = (m[name] / (1 - 0.9**step)) / (np.sqrt(v[name] / (1 - 0.999**step)) + 1e-8)
            if "spline" in name:
                params[name] = params[name] - 3.0 * rate * way
            else:
                params[name] = params[name] * (1 - rate * 0.1) - rate * way
    found = shared.adapters.parameters()
    for name, wanted in params.items():
        # three float32 steps of at most 3e-2 on values of up to 4
        assert np.abs(found[name] - wanted).max() < 2e-6


def test_the_penalty_pulls_the_values_back(shared: Session) -> None:
    """By itself it would end at the identity; against the loss it ends nearer than without."""
    away = []
    for weight in (0.0, 10.0):
        spec = replace(LSLORA, spline=Spline(penalty=weight), targets=FEW)
        put(shared, "topic", spec, seed=50)
        train(shared, BATCH, steps=10, rate=3e-2)
        away.append(
            penalty(replace(spec, spline=Spline(penalty=1.0)), shared.adapters.parameters())
        )
        shared.adapters.unload("topic")
    assert away[1] < 0.5 * away[0]


# Gradients against central differences of a float64 loss. z is about 0.2 and the scales about 1,
# so that grids of this size leave a share of the inputs outside.

GRID = (6, -0.2, 0.3)
BENT = {
    f"{interpolation}-{outside}": replace(
        LSLORA,
        targets=FEW,
        spline=Spline(*GRID, interpolation, outside, penalty=0.5),
    )
    for interpolation in ("piecewise", "soft")
    for outside in ("linear", "clamp")
}
STEEP = {"dora": replace(DORA, targets=FEW), **BENT}


PAST = replace(DORA, targets=FEW, seed=8)


@dataclass(frozen=True)
class Point:
    """Where gradients are looked at: adapters of drawn values, of which the last trains, and rows.
    `slopes`: for each of its tensors the loss's derivative along `way`."""

    past: Params
    params: Params
    batch: Batch
    slopes: dict[str, float]


@pytest.fixture(scope="module")
def point_of(model_of: ModelFolder) -> Callable[[str, str, Objective], Point]:
    """Worked out once for both backends."""
    dense = cache(lambda family: Dense(model_of(family)))

    @cache
    def point(family: str, kind: str, objective: Objective) -> Point:
        oracle, spec = dense(family), STEEP[kind]
        past = drawn(_fresh(oracle, PAST, []), 51)
        params = drawn(_fresh(oracle, spec, [(PAST, past)]), 52)
        acting: Acting = [(PAST, past), (spec, params)]
        batch = _rows(objective, oracle, acting)
        slopes = {
            name: oracle.slope(objective, batch, acting, name, way(name, array), window_of(batch))
            for name, array in params.items()
        }
        if spec.spline is not None:
            assert 0.05 < oracle.outside < 0.8, "this grid has no outside, or no inside"
        return Point(past, params, batch, slopes)

    return point


@pytest.mark.parametrize("kind", STEEP)
def test_sft_gradients_against_central_differences(
    shared: Session, point_of: Callable[[str, str, Objective], Point], family: str, kind: str
) -> None:
    _against_differences(shared, kind, SFT, point_of(family, kind, SFT))


@pytest.mark.parametrize("kind", ["dora", "piecewise-linear"])
def test_dpo_gradients_against_central_differences(
    shared: Session, point_of: Callable[[str, str, Objective], Point], family: str, kind: str
) -> None:
    objective = Objective("dpo", beta=0.3, sft_weight=0.2)
    _against_differences(shared, kind, objective, point_of(family, kind, objective))


def _against_differences(shared: Session, kind: str, objective: Objective, point: Point) -> None:
    spec = STEEP[kind]
    shared.adapters.add(PAST, "past")
    assign(shared, point.past)
    shared.adapters.freeze("past")
    shared.adapters.add(spec, "topic")
    assign(shared, point.params)
    learner = shared.learner(objective, OptimizerSpec())
    _, found = learner.gradients(point.batch, window_of(point.batch))
    assert found.keys() == point.slopes.keys()
    for ending in endings(spec):
        # float32 sums over some thousand elements, against all tensors of the same kind, so that
        # a wrong gradient of a few knots does not hide behind the factors' large one.
        bar = 1e-4 * norm_of(found, ending)
        assert bar > 0
        for name in (name for name in found if name.endswith(ending)):
            along = float((found[name] * way(name, found[name])).sum())
            assert abs(along - point.slopes[name]) < bar, name


def way(name: str, like: NDArray[np.float32]) -> NDArray[np.float64]:
    """A drawn direction: what is wrong anywhere in a gradient shows along it."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(like.shape)


def _fresh(oracle: Dense, spec: AdapterSpec, below: Acting) -> Params:
    found: Params = {}
    for path in lora.select(oracle.paths, spec.targets):
        weight = oracle.weight(path, below)
        norms = np.linalg.norm(weight, axis=1).astype(np.float32)
        out, inputs = weight.shape
        found |= lora.initial(spec, path, out, inputs, norms)
    return found


def _rows(objective: Objective, oracle: Dense, acting: Acting) -> Batch:
    rng = np.random.default_rng(53)
    if objective.kind == "sft":
        return random_batch(rng, (9, 2, 13, 6))
    pairs = preference_batch(rng, ((4, 5, 3), (1, 1, 6)))
    away = rng.normal(0.0, 1.0, len(pairs.ids))  # of the reference from the policy, in nats
    sums = oracle.sums(pairs, acting).numpy() + away
    return replace(pairs, reference=sums.astype(np.float32))


def _step(learner: Learner, batch: Batch, rate: float) -> StepStats:
    stats = learner.accumulate(batch, window_of(batch))
    learner.apply(rate, 1.0)
    return stats


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.interpolation}-{form.outside}")
def test_values_have_no_gradient_where_there_is_no_input(shared: Session, form: Spline) -> None:
    """B is 0 in a fresh adapter, and phi(0) is 0 whatever the values: AdamW would make whole steps
    of a gradient that is rounding, on each backend other ones."""
    shared.adapters.add(replace(LSLORA, spline=form), "topic")
    _, found = shared.learner(SFT, OptimizerSpec()).gradients(BATCH, WINDOW)
    for name, gradient in found.items():
        if "spline" in name:
            assert not gradient.any(), name

"""A topic taken out of the one adapter of all, against sums of dense float64 matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backends import lora
from backends.chain import Held
from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from mindprint.difference import Way
from tests.kinds import BENT, dense, drawn, rows

DOWN, UP = "layers.0.down_proj", "layers.0.up_proj"
RNG = np.random.default_rng(0)
W0 = {
    DOWN: RNG.standard_normal((24, 20)).astype(np.float32),
    UP: RNG.standard_normal((30, 24)).astype(np.float32),
}
DORA = AdapterSpec(rank=2, alpha=4.0, kind="dora")
LORA = AdapterSpec(rank=2, alpha=4.0)
EXACT = 1e-6
"""Relative to the weights: the factors and the magnitudes are written in float32, 6e-8 apiece."""
BELOW: dict[str, tuple[Held, ...]] = {
    "the base": (),
    "lora": (drawn(W0, LORA, 11),),
    "dora and lora": (drawn(W0, DORA, 12), drawn(W0, LORA, 13, only="up")),
    "a branch": (drawn(W0, replace(LORA, kind="lslora", spline=BENT), 14), drawn(W0, DORA, 15)),
}


def states(spec: AdapterSpec, count: int = 5) -> list[Held]:
    """One adapter as each of several topics left it: every one a little further."""
    _, first = drawn(W0, spec, 1)
    found = [(spec, first)]
    for seed in range(2, count + 1):
        _, step = drawn(W0, spec, seed)
        moved: Params = {}
        for name, held in found[-1][1].items():
            magnitude = name.endswith("vector")
            moved[name] = held * (1 + 0.05 * np.tanh(step[name])) if magnitude else held
            if not magnitude:
                moved[name] = (held + 0.3 * step[name]).astype(np.float32)
        found.append((spec, {name: held.astype(np.float32) for name, held in moved.items()}))
    return found


@pytest.mark.parametrize("below", BELOW)
@pytest.mark.parametrize("spec", [DORA, LORA], ids=["dora", "lora"])
@pytest.mark.parametrize("gone", [0, 1, 3])
def test_the_others_changes_stay_whole(below: str, spec: AdapterSpec, gone: int) -> None:
    """The new chain makes of the weights what the old one did, less what the topic changed."""
    under, made = list(BELOW[below]), states(spec)
    kept = made[gone - 1] if gone else None
    chain = [*under, *([] if kept is None else [kept])]
    for later in range(gone + 1, len(made)):
        way = Way(tuple(under), kept, made[gone], made[later - 1], made[later])
        chain.append(way.adapter(rows(W0)))
        assert chain[-1][0].kind == spec.kind
    for path, w0 in W0.items():
        whole = [dense(path, w0, [*under, held]) for held in made]
        before = whole[gone - 1] if gone else dense(path, w0, under)
        wanted = before + sum(b - a for a, b in zip(whole[gone:], whole[gone + 1 :], strict=False))
        assert np.abs(dense(path, w0, chain) - wanted).max() < EXACT * np.abs(wanted).max()
        assert np.abs(wanted - whole[-1]).max() > 0.01


def test_no_factor_of_the_dropped_state_can_be_cut_out() -> None:
    made = states(DORA, 4)
    way = Way((), made[0], made[1], made[1], made[2])
    _, found = way.adapter(rows(W0))
    for path in W0:
        for name, axis in ((lora.name_a(path), 1), (lora.name_b(path), 0)):
            held, gone = (
                np.atleast_2d(one[name] if axis else one[name].T).astype(np.float64)
                for one in (found, made[1][1])
            )
            held /= np.linalg.norm(held, axis=1, keepdims=True)
            gone /= np.linalg.norm(gone, axis=1, keepdims=True)
            assert np.abs(gone @ held.T).max() < 0.9999


def test_what_cannot_be_a_dora_is_refused_by_its_row() -> None:
    """Magnitudes under which, without the topic, a row's weight would count 1 - 2 + 1 = 0 times."""
    plain, twice = (silent(factor) for factor in (1.0, 2.0))
    for kept, before in ((plain, twice), (None, plain)):
        with pytest.raises(AdapterError, match=r"row 5 of the weight of `layers\.0\.down_proj`"):
            Way((), kept, twice, before, plain).adapter(rows(W0))


def silent(factor: float) -> Held:
    """A DoRA that adds nothing, and multiplies one row."""
    spec, tensors = drawn(W0, DORA, 1)
    made = {name: held * (0.0 if name.endswith("_B") else 1.0) for name, held in tensors.items()}
    for path, w0 in W0.items():
        made[lora.name_m(path)] = np.linalg.norm(w0, axis=1)
    made[lora.name_m(DOWN)][5] *= factor
    return spec, {name: np.asarray(held, np.float32) for name, held in made.items()}

"""Several adapters as one, against float64 sums and NumPy's full singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.chain import Held
from backends.contract import AdapterSpec, Params
from backends.lora import paths_of
from mindprint.errors import ConfigError
from mindprint.export.folded import Folded, concatenated, norm, reduced

Q, DOWN, OTHER = "layers.0.self_attn.q_proj", "layers.0.mlp.down_proj", "layers.1.mlp.down_proj"
SIZES = {Q: (9, 7), DOWN: (7, 12), OTHER: (7, 12)}
EXACT = 1e-6
"""Of entries about 1: B is scaled and both factors are kept in float32, 6e-8 apiece."""


def held(seed: int, spec: AdapterSpec, *paths: str) -> Held:
    rng = np.random.default_rng(seed)
    tensors: Params = {}
    for path in paths:
        out, inputs = SIZES[path]
        tensors[f"{path}.lora_A"] = rng.uniform(-1, 1, (spec.rank, inputs)).astype(np.float32)
        tensors[f"{path}.lora_B"] = rng.uniform(-1, 1, (out, spec.rank)).astype(np.float32)
    return spec, tensors


FIRST = held(1, AdapterSpec(rank=4, alpha=6.0), Q, DOWN)
SECOND = held(2, AdapterSpec(rank=2, alpha=3.0, scaling="rslora"), DOWN, OTHER)
THIRD = held(3, AdapterSpec(rank=3, alpha=1.0), OTHER)


def change(one: Held, path: str) -> NDArray[np.float64]:
    """What an adapter adds to a layer, in float64; nothing where it does not act."""
    spec, tensors = one
    if f"{path}.lora_A" not in tensors:
        return np.zeros(SIZES[path])
    a, b = (tensors[f"{path}.lora_{kind}"].astype(np.float64) for kind in "AB")
    root = spec.rank**0.5 if spec.scaling == "rslora" else spec.rank
    return np.asarray(spec.alpha / root * b @ a)


def of(whole: Folded, path: str) -> NDArray[np.float64]:
    return change((whole.spec, whole.tensors), path)


@pytest.mark.parametrize("signs", [None, [1.0, -1.0, 1.0], [-1.0, 0.5, 0.0]])
def test_the_sum_of_what_each_adds(signs: list[float] | None) -> None:
    adapters = [FIRST, SECOND, THIRD]
    whole = concatenated(adapters, signs)
    for path in SIZES:
        wanted = sum(s * change(one, path) for one, s in zip(adapters, signs or [1.0] * 3))  # noqa: B905
        assert np.abs(of(whole, path) - wanted).max() < EXACT
    assert whole.error == 0.0


def test_one_rank_for_all_layers_padded_with_zeros() -> None:
    whole = concatenated([FIRST, SECOND, THIRD])
    assert whole.spec.rank == 6 and whole.spec.scale == 1.0 and whole.spec.dropout == 0.0
    assert paths_of(whole.tensors) == [Q, DOWN, OTHER]
    for path, (out, inputs) in SIZES.items():
        assert whole.tensors[f"{path}.lora_A"].shape == (6, inputs)
        assert whole.tensors[f"{path}.lora_B"].shape == (out, 6)
    assert not whole.tensors[f"{Q}.lora_A"][4:].any()
    assert not whole.tensors[f"{Q}.lora_B"][:, 4:].any()
    assert all(array.dtype == np.float32 for array in whole.tensors.values())


def test_what_is_taken_away_again_is_gone() -> None:
    """Under `continue` a topic is the entry after it less the entry before it."""
    whole = concatenated([FIRST, SECOND, FIRST], [1.0, 1.0, -1.0])
    for path in SIZES:
        assert np.abs(of(whole, path) - change(SECOND, path)).max() < EXACT


def test_one_adapter_is_itself() -> None:
    whole = concatenated([FIRST])
    assert whole.spec.rank == 4
    assert np.array_equal(whole.tensors[f"{Q}.lora_A"], FIRST[1][f"{Q}.lora_A"])


def test_nothing_cannot_be_written() -> None:
    with pytest.raises(ConfigError, match="nothing is accepted"):
        concatenated([])


def test_signs_are_one_for_each() -> None:
    with pytest.raises(ValueError):
        concatenated([FIRST, SECOND], [1.0])


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_nearest_of_a_smaller_rank(rank: int) -> None:
    """Eckart and Young: no matrix of that rank is nearer than the truncated decomposition."""
    whole = concatenated([FIRST, SECOND, THIRD])
    small = reduced(whole, rank)
    assert small.spec.rank == rank and small.spec.scale == 1.0
    cut = total = 0.0
    for path, (out, inputs) in SIZES.items():
        u, values, v = np.linalg.svd(of(whole, path), full_matrices=False)
        nearest = (u[:, :rank] * values[:rank]) @ v[:rank]
        assert np.abs(of(small, path) - nearest).max() < EXACT
        assert small.tensors[f"{path}.lora_A"].shape == (rank, inputs)
        assert small.tensors[f"{path}.lora_B"].shape == (out, rank)
        cut += float(np.square(of(whole, path) - nearest).sum())
        total += float(np.square(of(whole, path)).sum())
    assert small.error == pytest.approx((cut / total) ** 0.5, rel=1e-6)
    assert small.error > 0.01  # it tells of something


def test_a_rank_that_suffices_cuts_nothing() -> None:
    whole = concatenated([FIRST, SECOND, THIRD])
    assert reduced(whole, 6) is whole and reduced(whole, 40) is whole
    twice = concatenated([FIRST, FIRST])  # rank 8 on paper, 4 in truth
    small = reduced(twice, 4)
    assert small.error < 1e-6
    for path in (Q, DOWN):
        assert np.abs(of(small, path) - 2 * change(FIRST, path)).max() < EXACT


def test_a_layer_smaller_than_the_rank_is_padded() -> None:
    """Q's change has at most 7 singular values."""
    whole = concatenated([FIRST, held(4, AdapterSpec(rank=8, alpha=8.0), Q, DOWN)])
    small = reduced(whole, 10)
    assert small.tensors[f"{Q}.lora_A"].shape == (10, 7)
    wanted = np.linalg.svd(of(whole, DOWN))[1][10:]
    assert not wanted.any() or wanted.max() < EXACT  # DOWN is 7 x 12: 7 values as well
    assert np.abs(of(small, Q) - of(whole, Q)).max() < EXACT
    assert small.error < 1e-6


def test_an_adapter_that_changes_nothing() -> None:
    spec, tensors = FIRST
    idle = {n: array if n.endswith("A") else np.zeros_like(array) for n, array in tensors.items()}
    whole = concatenated([(spec, idle)])
    assert norm(whole) == 0.0
    assert reduced(whole, 2).error == 0.0


def test_the_norm_is_that_of_the_full_matrices() -> None:
    whole = concatenated([FIRST, SECOND, THIRD])
    full = np.sqrt(sum(float(np.square(of(whole, path)).sum()) for path in SIZES))
    assert norm(whole) == pytest.approx(full, rel=1e-9)
    scaled = Folded(AdapterSpec(rank=6, alpha=3.0), whole.tensors)
    assert norm(scaled) == pytest.approx(full / 2, rel=1e-9)


def test_a_scale_of_its_own_is_kept() -> None:
    whole = Folded(FIRST[0], FIRST[1])  # alpha 6 over rank 4
    small = reduced(whole, 2)
    u, values, v = np.linalg.svd(of(whole, Q), full_matrices=False)
    assert np.abs(of(small, Q) - (u[:, :2] * values[:2]) @ v[:2]).max() < EXACT

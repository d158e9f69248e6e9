"""Rounding without a framework, against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mindprint.export.numbers import OutOfRange, rounded, widened

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def bits(seed: int) -> np.ndarray:
    """Any float32 at all within the range of all kinds, ties between two bfloat16 among them."""
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(20_000) * 10.0 ** rng.integers(-12, 4, 20_000)).astype("f4")
    ties = (values.view(np.uint32) & np.uint32(0xFFFF0000)) | np.uint32(0x8000)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 65504.0], dtype=np.float32)
    return np.concatenate([values, ties.view(np.float32), special])


@pytest.mark.parametrize("kind", DTYPES)
def test_nearest_ties_to_even_as_pytorch(kind: str) -> None:
    values = bits(0)
    wanted = torch.from_numpy(values).to(DTYPES[kind]).float().numpy()
    found = widened(rounded(values, kind, "w"), kind)
    assert np.array_equal(found.astype(np.float32), wanted, equal_nan=True)


def nearest(values: np.ndarray, digits: int, least: int) -> np.ndarray:
    """In float64: a multiple of the last place, the even one of two as near. `digits`: binary ones
    of a number; `least`: the exponent below which they do not move on."""
    place = 2.0 ** (np.maximum(np.frexp(values)[1] - 1, least) - digits + 1)
    return np.asarray(np.round(values / place) * place)


@pytest.mark.parametrize(("kind", "digits", "least"), [("BF16", 8, -126), ("F16", 11, -14)])
def test_float64_is_rounded_once(kind: str, digits: int, least: int) -> None:
    """PyTorch goes by way of float32, where what lies just beside a tie becomes one."""
    rng = np.random.default_rng(1)
    near = bits(2)[:20_000] if kind == "BF16" else rng.standard_normal(20_000).astype("f4")
    ties = (near.view(np.uint32) & np.uint32(0xFFFF0000)).view("f4").astype("f8") * (1 + 2.0**-8)
    small = np.array([1e-50, -1e-50, 2.0**-140, 3 * 2.0**-27, 0.0, -0.0])
    values = np.concatenate([ties, ties * (1 + 1e-9), ties * (1 - 1e-9), near * (1 + 1e-9), small])
    found = widened(rounded(values, kind, "w"), kind)
    assert np.array_equal(found, nearest(values, digits, least))
    beside = 1 + 2.0**-digits + 2.0**-30
    assert widened(rounded(np.array([beside]), kind, "w"), kind)[0] == 1 + 2.0 ** (1 - digits)
    special = np.array([np.inf, -np.inf, np.nan])
    again = widened(rounded(special, kind, "w"), kind)
    assert np.array_equal(again, special, equal_nan=True)


def test_what_is_beyond_the_range_is_told_by_name() -> None:
    with pytest.raises(
        OutOfRange, match=r"`layers\.0\.w` holds numbers beyond the range of float16"
    ):
        rounded(np.array([1.0, 7e4], dtype=np.float32), "F16", "layers.0.w")
    assert rounded(np.array([7e4], dtype=np.float32), "BF16", "w")

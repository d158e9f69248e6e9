"""What packed weights are estimated to take, against the tensors that the backends then hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends import get
from backends.contract import ModelSpec
from backends.packed_files import weights
from mindprint.footprint import read_sizes
from mindprint.memory.packed import Packed
from mindprint.memory.shape import read_shape
from tests.tiny import make_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 112}
    return {
        family: make_model(tmp_path_factory.mktemp(family), family, **sizes)
        for family in ("qwen2", "llama")
    }


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_bytes_are_those_of_the_tensors(
    folders: dict[str, Path], backend: str, quantization: str, family: str
) -> None:
    """Rows of 112 fill no group of MLX's: those stay as they are, and are counted so."""
    folder = folders[family]
    sizes = read_sizes(folder)
    shape = read_shape(folder, sizes)
    packed = Packed.planned(sizes, shape, backend, quantization)
    spec = ModelSpec(
        str(folder),
        dtype="float32",
        device="cpu",
        quantization=quantization,  # type: ignore[arg-type]  # one of its values
    )
    session: Any = get(backend).open(spec)
    if backend == "torch":
        held = sum(one.numel() * one.element_size() for one in session.opened.model.parameters())
    else:
        from mlx.utils import tree_flatten

        held = sum(one.nbytes for _, one in tree_flatten(session._decoder.net.parameters()))
    unpacked = {name: values.size for name, values in session.unpacked()}
    session.close()
    assert packed.weights(shape.parameters, "float32") == held
    assert packed.numbers == sum(unpacked.values())
    assert packed.unpacked("float32") == (4 * max(unpacked.values()) if backend == "torch" else 0)
    assert held < 4 * shape.parameters


def test_plain_weights_are_counted_as_they_were(folders: dict[str, Path]) -> None:
    sizes = read_sizes(folders["llama"])
    shape = read_shape(folders["llama"], sizes)
    for packed in (
        Packed.planned(sizes, shape, "torch", "none"),
        Packed.stored(weights(folders["llama"]), "mlx"),
    ):
        assert packed == Packed()
        assert packed.weights(shape.parameters, "bfloat16") == shape.weights("bfloat16")

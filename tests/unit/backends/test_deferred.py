"""Stand-ins for packages that are imported when they are used."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.deferred import deferred, uncollected

WHOLE = """
class Shape:
    made = 3
    def __init__(self, size=1):
        self.size = size
TABLE = {"a": 1}
def twice(x):
    return 2 * x
"""


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package with a part, neither imported yet."""
    package = tmp_path / "heavyqv"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text(WHOLE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "heavyqv"
    for name in [one for one in sys.modules if one.startswith("heavyqv")]:
        del sys.modules[name]


def test_a_stand_in_is_the_real_thing_as_soon_as_it_is_used(heavy: str) -> None:
    with deferred(heavy):
        part = importlib.import_module(f"{heavy}.part")
        shape, table, twice = part.Shape, part.TABLE, part.twice
        assert not isinstance(3, shape)
    assert f"{heavy}.part" not in sys.modules
    assert twice(4) == 8
    real = importlib.import_module(f"{heavy}.part")
    assert real is not part and part.TABLE["a"] == 1 and "a" in table and table["a"] == 1
    made = shape(7)
    assert type(made) is real.Shape and made.size == 7 and shape.made == 3
    assert isinstance(real.Shape(), shape) and issubclass(real.Shape, shape)


def test_what_is_needed_at_once_is_imported_at_once(heavy: str) -> None:
    with deferred(heavy):
        twice = importlib.import_module(f"{heavy}.part").twice
        assert twice(2) == 4
        assert hasattr(importlib.import_module(f"{heavy}.part"), "__file__")


def test_what_is_imported_already_stays(heavy: str) -> None:
    real = importlib.import_module(f"{heavy}.part")
    with deferred(heavy, f"{heavy}.part"):
        assert importlib.import_module(f"{heavy}.part") is real
    assert importlib.import_module(f"{heavy}.part") is real


def test_what_is_derived_from_a_stand_in_is_derived_from_the_real_thing(heavy: str) -> None:
    with deferred(heavy):
        shape = importlib.import_module(f"{heavy}.part").Shape

        class Round(shape):  # type: ignore[misc, valid-type]
            def twice(self) -> int:
                return 2 * int(super().__getattribute__("size"))

        assert Round(4).twice() == 8
    real = importlib.import_module(f"{heavy}.part").Shape
    assert type(Round) is type and Round.__mro__[1] is real and isinstance(Round(), shape)


def test_no_stand_in_for_what_is_not_installed() -> None:
    with deferred("nosuchpackageqv", "nosuchpackageqv.part"):
        for name in ("nosuchpackageqv", "nosuchpackageqv.part"):
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module(name)
        assert importlib.util.find_spec("nosuchpackageqv") is None


def test_garbage_is_looked_for_again_afterwards() -> None:
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


PLAIN = """
import sys
from pathlib import Path
from backends import get
from backends.contract import ModelSpec
from mindprint.tokens.render import Renderer
from mindprint.curriculum.records import Message
ids = Renderer.open(Path(sys.argv[1])).prompt([Message("user", "Hi")])
assert "torch" not in sys.modules
get("mlx").open(ModelSpec(sys.argv[1], device="cpu")).close()
assert "torch" not in sys.modules
import torch
from transformers import activations, image_utils
from transformers.utils import type_validators
assert image_utils.torch.float32 is torch.float32
assert "silu" in type_validators.ACT2FN and len(type_validators.ACT2FN) == len(activations.ACT2FN)
assert issubclass(activations.SiLUActivation, torch.nn.Module)
from transformers import AutoConfig
assert isinstance(AutoConfig.from_pretrained(sys.argv[1]).dtype, torch.dtype)
"""


def test_a_tokenizer_and_an_mlx_model_open_without_pytorch() -> None:
    model = Path(__file__).parents[3] / "mindprint" / "demo" / "model"
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(model)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


SMALL = """
import sys
from backends import get
from backends.contract import AdapterSpec, ModelSpec
session = get("torch").open(ModelSpec(sys.argv[1], device="cpu"))
session.adapters.add(AdapterSpec(rank=2), "own")
heavy = {"torch._inductor", "scipy.optimize", "torch._dynamo", "torch.distributed.tensor"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import torch
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2.0
from transformers.distributed import parallel_utils
from torch.distributed.tensor import DTensor
assert not isinstance(torch.ones(1), parallel_utils.DTensor)
assert issubclass(DTensor, parallel_utils.DTensor)
"""


def test_opening_a_model_imports_neither_compiler_nor_parallelism() -> None:
    model = Path(__file__).parents[3] / "mindprint" / "demo" / "model"
    done = subprocess.run(
        [sys.executable, "-c", SMALL, str(model)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

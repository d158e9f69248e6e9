"""An installation that is there and does not load is a reason, not a crash: each in a process of
its own, with a stand-in package before the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
LOOK = """
import json
from backends import available, choose
from backends.errors import BackendUnavailable
found = {name: [here.ok, here.reason, here.hint] for name, here in available().items()}
try:
    chosen = choose().name
except BackendUnavailable as error:
    chosen = error.what
print(json.dumps({**found, "chosen": chosen}))
"""
OPEN = """
from backends import get
from backends.contract import ModelSpec
from backends.errors import BackendUnavailable
try:
    get({backend!r}).open(ModelSpec("nowhere"))
except BackendUnavailable as error:
    print(error)
"""


def told(stand_in: Path, code: str) -> str:
    paths = os.pathsep.join([str(stand_in), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=stand_in,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def stand_in(folder: Path, package: str, text: str) -> Path:
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12"),
        ("raise ImportError('undefined symbol: ncclCommInit')", "ncclCommInit"),
        ("", "has no attribute 'cuda'"),
    ],
    ids=["os-error", "import-error", "empty"],
)
def test_a_torch_that_does_not_load(tmp_path: Path, text: str, says: str) -> None:
    found: dict[str, Any] = json.loads(told(stand_in(tmp_path, "torch", text), LOOK))
    ok, reason, hint = found["torch"]
    assert not ok
    assert "torch does not load" in reason and says in reason
    assert "pip install" in hint
    assert found["mlx"][0] and found["chosen"] == "mlx"


def test_an_mlx_that_does_not_load(tmp_path: Path) -> None:
    folder = stand_in(tmp_path, "mlx", "raise OSError('libmlx.so: cannot open')")
    found = json.loads(told(folder, LOOK))
    ok, reason, _ = found["mlx"]
    assert not ok and "mlx does not load" in reason and "libmlx.so" in reason
    assert found["torch"][0] and found["chosen"] == "torch"


def test_a_peft_that_does_not_load(tmp_path: Path) -> None:
    """Availability imports torch alone; opening says what is wrong with the rest."""
    folder = stand_in(tmp_path, "peft", "raise ImportError('cannot import name `PreTrainedModel`')")
    said = told(folder, OPEN.format(backend="torch"))
    assert "does not load" in said and "PreTrainedModel" in said and "pip install" in said


def test_a_stray_folder_is_no_library(tmp_path: Path) -> None:
    """A folder `torch` is found as a package without files; no installation is registered."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "mlx").mkdir()
    hidden = "from importlib import metadata\n" + "\n".join(
        [
            "real = metadata.version",
            "def version(name):",
            "    if name in ('torch', 'mlx'):",
            "        raise metadata.PackageNotFoundError(name)",
            "    return real(name)",
            "metadata.version = version",
        ]
    )
    found = json.loads(told(tmp_path, hidden + LOOK))
    assert not found["torch"][0] and found["torch"][1] == "not installed: torch"
    assert not found["mlx"][0] and found["mlx"][1] == "not installed: mlx"
    assert found["chosen"] == "no backend works here"

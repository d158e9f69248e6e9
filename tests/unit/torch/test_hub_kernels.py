"""bitsandbytes is imported without anything being fetched, whoever imports it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FETCHES = """
import logging
try:
    from kernels import get_kernel
    kernel = get_kernel("somewhere/else")
except Exception as error:
    kernel = None
    logging.getLogger(__name__).warning("failed to load: %s", error)
_kernel_load_failed = False
"""
IMPORTS = """
import sys
{guard}
from bitsandbytes.backends.cpu import ops as cpu
from bitsandbytes.backends.mps import ops as mps
import kernels
print(cpu.kernel, mps.kernel, mps._kernel_load_failed, kernels.asked)
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_nothing_is_fetched(tmp_path: Path, guarded: bool) -> None:
    """Over stand-ins for both packages, since which of the two fetches goes by the machine."""
    for module in ("cpu", "mps"):
        folder = tmp_path / "bitsandbytes" / "backends" / module
        folder.mkdir(parents=True)
        (folder / "ops.py").write_text(FETCHES, "utf-8")
        for package in (folder, folder.parent, folder.parent.parent):
            (package / "__init__.py").touch()
    kernels = "asked = []\ndef get_kernel(name):\n    asked.append(name)\n    return 'fetched'\n"
    (tmp_path / "kernels.py").write_text(kernels, "utf-8")
    guard = "import backends.torch" if guarded else ""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS.format(guard=guard)],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        check=True,
    )
    if guarded:
        assert done.stdout.split() == ["None", "None", "True", "[]"]
        assert done.stderr == ""
    else:
        assert done.stdout.startswith("fetched fetched False ['somewhere/else'")

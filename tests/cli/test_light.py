"""The command line answers before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = {"torch", "transformers", "peft", "trl", "mlx", "mlx_lm", "tokenizers", "safetensors"}
# Not frameworks, but each costs 20 to 60 ms that `--help` does not have.
HEAVY = {"numpy", "pydantic", "rich", "jinja2", "ruamel", "psutil", "huggingface_hub", "asyncio"}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh Python has imported after `code`."""
    script = f"import sys\n{code}\nprint('MODULES', *{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_help_imports_nothing_heavy() -> None:
    loaded = modules_after("from mindprint.cli.app import run\nassert run(['--help']) == 0")
    assert not loaded & (FRAMEWORKS | HEAVY)


@pytest.mark.parametrize("verb", ["train", "doctor", "chat"])
def test_a_verbs_help_imports_nothing_heavy(verb: str) -> None:
    loaded = modules_after(f"from mindprint.cli.app import run\nassert run([{verb!r}, '-h']) == 0")
    assert not loaded & (FRAMEWORKS | HEAVY - {"pydantic"})  # Typer itself parses with pydantic


@pytest.mark.parametrize(
    "module",
    [
        "mindprint",
        "backends",
        "backends.mlx",
        "backends.torch",
        "backends.probe",
        "mindprint.config",
        "mindprint.pipeline",
        "mindprint.curriculum.load",
        "mindprint.report.files",
        "mindprint.cli.execute",
    ],
)
def test_importing_imports_no_framework(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert not loaded & {"torch", "transformers", "peft", "trl", "mlx", "mlx_lm"}


def test_check_and_report_need_no_framework(tmp_path: object) -> None:
    code = (
        "from mindprint.cli.app import run\n"
        f"assert run(['init', r'{tmp_path}/mine']) == 0\n"
        f"assert run(['check', r'{tmp_path}/mine/curriculum']) == 0"
    )
    assert not modules_after(code) & {"torch", "transformers", "peft", "trl", "mlx", "mlx_lm"}

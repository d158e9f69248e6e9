"""Documents that cannot drift: generated pages are equal, every command in a fence is real."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from mindprint.cli import config_text, reference
from mindprint.cli.app import run

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "TESTING_INSTRUCTIONS.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def fenced(page: Path) -> list[str]:
    """Command lines of the page's `sh` blocks, comments taken off."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    lines = [
        line.split("  #")[0].split(" # ")[0].strip() for line in "\n".join(blocks).splitlines()
    ]
    return [line for line in lines if line]


COMMANDS = sorted({line for page in PAGES for line in fenced(page)})


def test_the_pages_hold_commands() -> None:
    assert len(COMMANDS) >= 15
    assert fenced(ROOT / "TESTING_INSTRUCTIONS.md")


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_real(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script is there and its demo arguments parse; a verb parses; tests are there."""
    words = shlex.split(line)
    program = words[0].removeprefix("./").removeprefix(".venv/bin/")
    if program == "pytest":
        _names_tests(words[1:])
    elif program == "pip":
        _is_an_extra(words[-1])
    elif program == "mindprint":
        assert run([*words[1:], "--help"]) == 0
    else:
        assert os.access(ROOT / program, os.X_OK), line
        assert not words[1:] or program == "scripts/demo"
        assert run(["demo", *words[1:], "--help"]) == 0
    assert "error:" not in capsys.readouterr().err


def _names_tests(words: list[str]) -> None:
    """Each place that is named holds tests, and each test that is named stands there."""
    for place in (word for word in words if not word.startswith("-")):
        path, _, name = place.partition("::")
        found = ROOT / path
        assert found.is_file() or list(found.rglob("test_*.py")), place
        assert not name or f"def {name.partition('[')[0]}(" in found.read_text("utf-8"), place


def _is_an_extra(requirement: str) -> None:
    name, _, extra = requirement.rstrip("]").partition("[")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert name == project["name"] and extra in project["optional-dependencies"]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_the_configuration_page_is_the_models() -> None:
    page = ROOT / "docs" / "reference" / "config.md"
    assert page.read_text("utf-8") == config_text.reference(), (
        "run `python -m mindprint.cli.config_text > docs/reference/config.md`"
    )


def test_the_command_page_is_the_commands() -> None:
    page = ROOT / "docs" / "reference" / "cli.md"
    assert page.read_text("utf-8") == reference.reference(), (
        "run `python -m mindprint.cli.reference > docs/reference/cli.md`"
    )


@pytest.mark.parametrize("name", ["setup", "demo", "test", "mac_acceptance.sh"])
def test_scripts_stop_at_the_first_failure_and_name_no_machine(name: str) -> None:
    text = (ROOT / "scripts" / name).read_text("utf-8")
    assert os.access(ROOT / "scripts" / name, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in text
    assert not re.search(r"/home/|/root/|/Users/|/work/|https?://", text)
    subprocess.run(["bash", "-n", ROOT / "scripts" / name], check=True)


def test_constraints_pin_what_the_project_asks_for() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["mlx"], *extras["torch"], *extras["dev"]]
    names = {re.split(r"[\[<>=; ]", one)[0].lower().replace("_", "-") for one in wanted}
    assert names - {"mindprint"} <= pinned

"""Which part may know which: read off the imports of every file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "mindprint").rglob("*.py"), *(ROOT / "backends").rglob("*.py")])
NAMES = [str(file.relative_to(ROOT)) for file in FILES]


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """(module as written, whether the import stands inside a function), `TYPE_CHECKING` left out.

    `from a import b` counts as `a` and as `a.b`, which may be a module too.
    """
    tree = ast.parse(file.read_text("utf-8"))
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            yield module, node in inside
            yield from ((f"{module}.{alias.name}", node in inside) for alias in node.names)


def under(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offending(name: str, *packages: str, at_top_only: bool = False) -> list[str]:
    found = imports(ROOT / name)
    return [m for m, inner in found if under(m, *packages) and not (at_top_only and inner)]


@pytest.mark.parametrize("name", NAMES)
def test_a_framework_is_known_in_its_own_folder_alone(name: str) -> None:
    if not name.startswith("backends/torch/"):
        assert not offending(name, "torch", "peft", "trl", "accelerate")
    if not name.startswith("backends/mlx/"):
        assert not offending(name, "mlx", "mlx_lm")


@pytest.mark.parametrize("name", NAMES)
def test_transformers_is_a_backends_but_for_the_tokenizer(name: str) -> None:
    found = offending(name, "transformers", "tokenizers")
    if name == "mindprint/tokens/render.py":
        assert not offending(name, "transformers", "tokenizers", at_top_only=True)
        assert not [module for module in found if "Model" in module]
    elif not name.startswith(("backends/torch/", "backends/mlx/")):
        assert not found


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("backends/")])
def test_backends_know_neither_mindprint_nor_each_other(name: str) -> None:
    assert not offending(name, "mindprint")
    for own, other in (("torch", "mlx"), ("mlx", "torch")):
        if name.startswith(f"backends/{own}/"):
            assert not offending(name, f"backends.{other}")
    if name.count("/") == 1:  # what both share is written for neither
        assert not offending(name, "backends.torch", "backends.mlx")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("mindprint/cli/")])
def test_nobody_imports_the_command_line(name: str) -> None:
    assert not offending(name, "mindprint.cli")


# What finds and opens a model for the command line, and for lm-evaluation-harness without it.
OPENS = "mindprint/target.py"


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if n.startswith("mindprint/") and "/cli/" not in n and n != OPENS],
)
def test_only_the_command_line_picks_a_backend(name: str) -> None:
    names = ("torch", "mlx", "get", "choose", "available", "engine")
    assert not offending(name, *(f"backends.{word}" for word in names))


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n.startswith(("mindprint/report/", "mindprint/export/"))]
)
def test_reports_read_run_folders_and_never_the_pipeline(name: str) -> None:
    parts = ("pipeline", "training", "stages", "topics", "strategies", "evals", "curriculum")
    assert not offending(name, *(f"mindprint.{part}" for part in parts))


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("mindprint/compare/")])
def test_comparisons_measure_what_was_written_and_train_nothing(name: str) -> None:
    parts = ("pipeline", "training", "stages", "topics", "strategies", "curriculum", "target")
    assert not offending(name, *(f"mindprint.{part}" for part in parts))


@pytest.mark.parametrize("name", NAMES)
def test_files_stay_small(name: str) -> None:
    # The contract is one file on purpose: all that may cross, in one place.
    limit = 400 if name == "backends/contract.py" else 350
    assert len((ROOT / name).read_text("utf-8").splitlines()) <= limit


@pytest.mark.parametrize("name", NAMES)
def test_functions_stay_on_a_screen(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text("utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    lines = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: count for name, count in lines.items() if count > 50} == {}

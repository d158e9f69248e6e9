"""`scripts/parity.py`: it measures, it misses what is missing, and its table stands in the page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mindprint.compare import distances, partings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "concepts" / "parity.md"
QUICKLY = (
    *("--architectures", "mistral", "--kinds", "lora", "--steps", "10"),
    *("--without-trl", "--jobs", "1"),
)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """As `python scripts/parity.py` finds its parts."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "scripts")
        import parity  # type: ignore[import-not-found]

        yield parity


def test_a_short_run_keeps_to_the_bars(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    assert script.main([*QUICKLY, "--docs", str(page), "--json", str(figures)]) == 0
    tree = json.loads(figures.read_text("utf-8"))
    assert (tree["sft_steps"], tree["dpo_steps"]) == (10, 5)
    assert {"torch", "mlx"} <= tree["versions"].keys()
    assert [(one["tied"], one["frozen"]) for one in tree["models"]] == [
        (False, True),
        (True, False),
    ]
    for one in tree["models"]:
        assert one["missed"] == []
        assert set(one["figures"]) == {key for key in tree["bars"] if not key.startswith("trl_")}
        assert one["windowless"] > 1.0, "the rows would not show a window that is left out"
        assert one["figures"]["sft_loss"] > 0.0, "two frameworks are not equal to the last digit"
        assert one["served"].keys() == {"PyTorch", "MLX"}
    printed = capsys.readouterr().out
    assert "| mistral, untied |" in printed and printed.strip() in page.read_text("utf-8")
    assert around(page) == around(PAGE)
    served = tree["models"][0]["served"]
    told = f"Matrix products: MLX by {served['MLX']}; PyTorch by {served['PyTorch']}."
    assert told in page.read_text("utf-8")


def around(page: Path) -> list[str]:
    """All of a page but its table."""
    marks = "<!-- measured: .*?<!-- end of what was measured -->"
    return re.split(marks, page.read_text("utf-8"), flags=re.DOTALL)


def row(script: ModuleType, **figures: float) -> Any:
    whole = {bar.key: bar.value for bar in script.BARS} | figures
    return script.Measured("llama", True, False, 1000, whole, fell=(7.0, 3.0, 0.7, 0.3))


@pytest.mark.parametrize("bad", [1.1, math.nan])
def test_every_bar_can_be_missed(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bad: float,
) -> None:
    assert not row(script).missed
    for bar in script.BARS:
        figure = bar.value * (1 - bad / 100) if bar.least else bar.value * bad
        found = row(script, **{bar.key: figure})
        monkeypatch.setattr(script, "measure", lambda *_, found=found: found)
        assert script.main(QUICKLY) == 1
        assert f"llama, tied: {bar.title} " in capsys.readouterr().err


def test_what_is_apart_is_found(script: ModuleType) -> None:
    """A loss at one step, a tensor, a token, an answer: each by its own figure."""
    from side_by_side.measured import compared, witnessed  # type: ignore[import-not-found]
    from side_by_side.side import Side, Stage  # type: ignore[import-not-found]

    began = {"a": np.zeros(4, np.float32)}

    def side(loss: float = 2.0, moved: float = 1.0, token: float = 0.0, answer: int = 7) -> Any:
        ended = {"a": np.array([3.0, 4.0, 0.0, moved], np.float32)}
        stage = Stage(np.array([4.0, loss, 1.0]), began, ended)
        tokens = np.array([-1.0, -2.0 + token], np.float32)
        return Side(stage, stage, (tokens, tokens), ((5, 6, answer), (5, 6)))

    assert set(compared(side(), side()).values()) == {0.0, 1.0}
    assert compared(side(), side(loss=2.02))["sft_loss"] == pytest.approx(0.01)
    assert compared(side(loss=0.05), side(loss=0.06))["dpo_loss"] == pytest.approx(0.1)
    assert compared(side(), side(moved=1.5))["sft_adapter"] == pytest.approx(0.5 / 26**0.5)
    assert compared(side(), side(token=0.25))["token_after"] == pytest.approx(0.25)
    assert compared(side(), side(answer=8))["answers"] == pytest.approx(0.8)
    assert witnessed(side(), side(loss=2.5))["trl_dpo_loss"] == pytest.approx(0.5)


def test_what_a_backend_refuses_is_said_and_no_fault(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = script.Measured("llama", True, False, 1000, {}, refused="mlx: no such window")
    monkeypatch.setattr(script, "measure", lambda *_: refused)
    assert script.main(QUICKLY) == 0
    assert "refused (mlx: no such window)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("--steps", "2"),
        ("--jobs", "0"),
        ("--architectures", "gpt2"),
        ("--kinds", "loha"),
        ("--docs", "no.md"),
    ],
)
def test_bad_options_are_refused_before_anything_is_measured(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str]
) -> None:
    monkeypatch.delattr(script, "measured")
    with pytest.raises(SystemExit) as found:
        script.main(words)
    assert found.value.code == 2


def test_a_page_without_a_place_is_refused(script: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Parity\n", "utf-8")
    with pytest.raises(SystemExit):
        script.main(["--docs", str(page)])
    assert page.read_text("utf-8") == "# Parity\n"


def test_the_pages_table_is_whole_and_keeps_to_the_bars(script: ModuleType) -> None:
    """As it was measured: both heads of six architectures, of every kind of adapter in it; TRL
    among the figures but of LS-LoRA, whose penalty its trainers would leave out."""
    text = PAGE.read_text("utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| \w+, (un)?tied(, \w+)? \|", line)]
    lines = [line.strip("| ").split(" | ") for line in rows]
    titles = [line[0] for line in lines]
    kinds = [kind for kind in script.KINDS if any(kind_of(title) == kind for title in titles)]
    assert kinds[0] == "lora"
    assert titles == [
        made.title
        for kind in kinds
        for name in script.NAMES
        for made in script.both_ways(name, kind)
    ]
    for line in lines:
        cells = line[2 : 2 + len(script.BARS)]
        for bar, cell in zip(script.BARS, cells, strict=True):
            if bar.key.startswith("trl_") and kind_of(line[0]) == "lslora":
                assert cell == "-"
            else:
                assert bar.met(_number(cell)), f"{line[0]}, {bar.title}"
    assert "200 SFT steps and 100 DPO steps" in text
    assert "\nMatrix products: MLX by " in text


def kind_of(title: str) -> str:
    """Of the adapters in a row of the table."""
    return (*title.split(", "), "lora")[2]


@pytest.mark.parametrize("kind", ["dora", "lslora"])
def test_the_other_kinds_keep_to_the_bars_too(script: ModuleType, kind: str) -> None:
    """DPO trains a new adapter over the frozen one here, and the same one on."""
    untied, tied = script.both_ways("llama", kind)
    assert (untied.title, tied.title) == (f"llama, untied, {kind}", f"llama, tied, {kind}")
    for made in (untied, tied):
        (found,) = script.measured([made], 10, False, 1)
        assert (found.title, found.missed) == (made.title, [])
        assert found.figures["sft_adapter"] > 0.0, "two frameworks are not equal to the last digit"
        assert found.as_json()["kind"] == kind


def test_compare_goes_by_the_pages_bars(script: ModuleType) -> None:
    """For all that a comparison of two runs has in common with the script."""
    bars = {bar.key: bar.value for bar in script.BARS}
    assert bars["sft_loss"] == partings.SFT_LOSS
    assert bars["dpo_loss"] == partings.DPO_LOSS
    assert bars["sft_adapter"] == bars["dpo_adapter"] == distances.ADAPTERS


def _number(cell: str) -> float:
    found = re.fullmatch(r"([0-9.e+-]+)( %)?", cell)
    assert found is not None, f"no figure: {cell}"
    return float(found[1]) / (100 if found[2] else 1)

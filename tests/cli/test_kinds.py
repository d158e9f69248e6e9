"""Kinds of adapters on the command line: planned, refused before a weight is loaded, trained,
reported, and a topic dropped."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from backends.contract import Session
from mindprint import probe as probing
from mindprint.disk.sealed import read_json
from tests.cli.conftest import Mindprint
from tests.cli.stops import refused
from tests.cli.test_train import QUICK

LSLORA = ("--set", "adapter.kind=lslora")
DORA = ("--set", "adapter.kind=dora")


@pytest.mark.parametrize(
    ("words", "what", "where"),
    [
        (("adapter.knots=7",), "`adapter.kind` is lora", "adapter.knots"),
        (("adapter.kind=lslora", "adapter.knots=4"), "none of 4 knots", "adapter.grid"),
        (("adapter.kind=lslora", "handoff=merge"), "no weights can hold", "handoff, adapter.kind"),
        (("adapter.kind=ls-lora",), "`adapter.kind` cannot be 'ls-lora'", "adapter.kind"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    no_model: None,
    tmp_path: Path,
    words: tuple[str, ...],
    what: str,
    where: str,
) -> None:
    asked = [word for one in words for word in ("--set", one)]
    said = mindprint("train", curriculum, "--model", model, "--out", "r", *asked)
    refused(said, 2, what, where)
    assert not (tmp_path / "r").exists()


def test_trl_takes_no_spline_and_says_what_would_do(
    mindprint: Mindprint, curriculum: Path, model: Path, no_model: None
) -> None:
    words = ("plan", curriculum, "--model", model, "--set", "run.engine=trl")
    said = mindprint(*words, *LSLORA, "--set", "adapter.knots=7", "--set", "adapter.grid=[-1,1]")
    refused(said, 2, "`adapter.kind: lslora` (TRL's trainers minimise no penalty")
    hint = said.error.split("use `")[1].split("`")[0]
    assert mindprint(*words, *LSLORA, *shlex.split(hint)).code == 0
    assert mindprint(*words, *DORA).code == 0


def test_the_plan_tells_the_kind_and_what_branches_cost(
    mindprint: Mindprint, curriculum: Path, model: Path
) -> None:
    words = ("plan", curriculum, "--model", model, "--backend", "torch", "--device", "cpu")
    assert "DoRA, on 14 layers" in mindprint(*words, *DORA).out
    probe = ("--probe", *LSLORA, "--set", "adapter.rank=2", "--set", "eval.max_tokens=4")
    said = mindprint(*words, *probe, "--set", "adapter.targets=[q_proj]")
    assert said.code == 0, said.err
    assert "LS-LoRA, 5 knots from -3 to 3, piecewise, linear outside, on 2 layers" in said.out
    assert "branches" in said.out and "2 a layer" in said.out
    assert "over 2 branches;" in said.out and "all as slow as the last topic" in said.out
    one = mindprint(*words, *LSLORA, "--set", "handoff=continue", "--json").tree
    assert "branches" not in one["memory"]


def test_steps_are_probed_on_the_adapter_that_trains(
    mindprint: Mindprint, curriculum: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With DPO's own adapters stacked among them: SFT's is timed, first and last."""
    ranks: list[set[int]] = []
    real = probing._sft

    def timed(session: Session, *rest: Any) -> float:
        held = session.adapters.trainable()
        ranks.append({shape[0] for name, shape in held.items() if name.endswith("lora_A")})
        return real(session, *rest)

    monkeypatch.setattr(probing, "_sft", timed)
    more = ("adapter.rank=2", "dpo.adapter=new", "dpo.rank=3")
    settings = [word for one in (*more, "eval.max_tokens=4") for word in ("--set", one)]
    words = ("plan", curriculum, "--model", model, "--backend", "torch", "--device", "cpu")
    said = mindprint(*words, "--probe", *LSLORA, *settings, "--json")
    assert said.code == 0, said.err
    assert ranks == [{2}, {2}] and said.tree["probe"]["branches"] >= 3


@pytest.mark.parametrize(("kind", "backend"), [("lslora", "torch"), ("dora", "mlx")])
def test_a_run_of_each_kind_is_reported_and_a_topic_dropped(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    topics: tuple[str, ...],
    kind: str,
    backend: str,
) -> None:
    settings = (*QUICK, "gate.rollback=false", "dpo.when=never", "handoff=stack")
    settings = (*settings, f"adapter.kind={kind}", "adapter.targets=[q_proj,down_proj]")
    asked = [word for one in settings for word in ("--set", one)]
    words = ("--backend", backend, "--device", "cpu", "--out", "r", *asked)
    said = mindprint("train", curriculum, "--model", model, *words)
    assert said.code == 1, said.err  # a random model passes no gate
    assert [one["kind"] for one in read_json(Path("r/ledger.json"))["entries"]] == [kind] * 3
    assert mindprint("report", "r").code == 0
    config = read_json(Path("r/result.json"))["config"]
    assert config["adapter.kind"][0] == kind and config["adapter.grid"][0] == [-3.0, 3.0]
    assert mindprint("chat", "r", "--once", "Who?", "--max-tokens", "2").code == 0
    dropped = mindprint("drop", "r", topics[1], "--out", "new", "--json")
    assert dropped.code == 0, dropped.err
    left = [one["topic"] for one in mindprint("ledger", "new", "--json").tree["entries"]]
    assert left == [topics[0], topics[2]]
    assert mindprint("report", "new").code == 0
    gone = mindprint("resume", "new")
    assert gone.code == 1 and "nothing is left to do" in gone.err

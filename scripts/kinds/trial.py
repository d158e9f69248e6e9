"""One run of `mindprint train` with one kind of adapter, and what is kept of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kinds.variants import Variant, parameters
from mindprint.config import resolve
from mindprint.disk.whole import write_text
from mindprint.footprint import read_sizes
from mindprint.report.files import RESULT, read_result
from mindprint.report.model import Result

ROOT = Path(__file__).resolve().parents[2]
TOLD = 3_000
"""Characters of a failed run's own words that are passed on."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
STEADY = {
    "handoff": "stack",
    "dpo.when": "always",
    "gate.retries": 0,
    "gate.rollback": "false",
    "eval.retention": "full",
    "eval.few_shot": 0,
}
"""The same way for every kind: nothing merged, retried or undone, both stages in every topic, and
every question asked again."""


class TrialFailed(Exception):
    """A run ended with an error, or left no result."""


@dataclass(frozen=True)
class Ground:
    """What every trial stands on. `settings`: on top of `config` and STEADY, below a
    trial's own; `work`: where outcomes, runs and what runs share are kept."""

    curriculum: Path
    model: Path
    config: Path
    topics: tuple[str, ...]
    backend: str
    work: Path
    settings: tuple[str, ...] = ()

    @cached_property
    def linears(self) -> dict[str, tuple[int, int]]:
        return dict(read_sizes(self.model).linears)

    @cached_property
    def base(self) -> tuple[float, float, int, float]:
        """The configured rates of SFT and DPO, rank, and the factor on an adapter."""
        config = resolve(self.config, [*self.settings], model__path=str(self.model)).config
        adapter = config.adapter
        factor = adapter.alpha / adapter.rank
        return config.sft.learning_rate, config.dpo.learning_rate, adapter.rank, factor


@dataclass(frozen=True)
class Trial:
    """`factor`: of both stages' configured learning rates."""

    variant: Variant
    rank: int
    factor: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.variant.name}-rate{self.factor:g}-seed{self.seed}"

    def settings(self, ground: Ground) -> list[str]:
        sft, dpo, _, scale = ground.base
        own: dict[str, object] = {
            "run.seed": self.seed,
            "adapter.kind": self.variant.kind,
            "adapter.rank": self.rank,
            "adapter.alpha": scale * self.rank,
            "sft.learning_rate": self.factor * sft,
            "dpo.learning_rate": self.factor * dpo,
            **{f"adapter.{key}": value for key, value in self.variant.settings.items()},
        }
        steady = [f"{key}={value}" for key, value in STEADY.items()]
        return [*steady, *ground.settings, *(f"{key}={value}" for key, value in own.items())]


@dataclass(frozen=True)
class Outcome:
    """`seconds`: of the whole process, start-up included; `settings`: that the run was given."""

    name: str
    seconds: float
    parameters: int
    settings: list[str]
    topics: list[str]
    result: Result = field(repr=False)

    def write(self, path: Path) -> None:
        tree = {**vars(self), "result": self.result.model_dump(mode="json")}
        write_text(path, json.dumps(tree) + "\n")

    @classmethod
    def read(cls, path: Path) -> Outcome:
        tree: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return cls(**{**tree, "result": Result.model_validate(tree["result"])})


def known(trial: Trial, ground: Ground) -> Outcome | None:
    """What an earlier call made of the same trial. Raises ValueError where it was another one."""
    path = _file(trial, ground)
    if not path.is_file():
        return None
    found = Outcome.read(path)
    if found.settings != trial.settings(ground) or found.topics != list(ground.topics):
        raise ValueError(f"{path} was made with other settings: name another folder with --work")
    return found


def made(trial: Trial, ground: Ground) -> Outcome:
    """Run it, from its start. Raises TrialFailed."""
    run = ground.work / "runs" / trial.name
    shutil.rmtree(run, ignore_errors=True)
    run.parent.mkdir(parents=True, exist_ok=True)
    settings = trial.settings(ground)
    words = ["train", str(ground.curriculum), "--model", str(ground.model), "--out", str(run)]
    words += ["--backend", ground.backend, "--device", "cpu", "--config", str(ground.config)]
    words += [word for topic in ground.topics for word in ("--topic", topic)]
    words += [word for setting in settings for word in ("--set", setting)]
    began = time.perf_counter()
    code, said = executed(words, ground.work / "cache")
    seconds = time.perf_counter() - began
    if code not in (0, 1) or not (run / RESULT).is_file():  # 1: a topic missed its pass mark
        raise TrialFailed(f"{trial.name} ended with {code}:\n{said[-TOLD:]}")
    outcome = Outcome(
        name=trial.name,
        seconds=round(seconds, 2),
        parameters=parameters(trial.variant.kind, trial.rank, ground.linears),
        settings=settings,
        topics=list(ground.topics),
        result=read_result(run),
    )
    outcome.write(_file(trial, ground))
    shutil.rmtree(run)  # tens of megabytes of adapters, which nobody asks for again
    return outcome


def executed(words: list[str], cache: Path) -> tuple[int, str]:
    """`mindprint WORDS` in a process of its own on one thread, its exit code and what it said.
    What the untouched base answers is found again in `cache`."""
    one = dict.fromkeys(THREADS, "1")
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    own = {"MINDPRINT_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
    environment = {**os.environ, **one, **own}
    command = [sys.executable, "-m", "mindprint.cli.app", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stderr


def _file(trial: Trial, ground: Ground) -> Path:
    return ground.work / "outcomes" / f"{trial.name}.json"

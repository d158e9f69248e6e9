"""Hooks around the moments of a run in this process: they count, time, and kill."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

from mindprint.disk import points
from tests.faults.shots import Moment, Shot, moment_of

SWITCH = 0.0002
"""Seconds after which a thread that waits for its turn gets it: a freeze takes milliseconds."""


class Watcher:
    """Where the main thread stands. `note` is written, and synced, before a kill."""

    def __init__(self, shot: Shot | None, note: Path) -> None:
        self._shot, self._note = shot, note
        self._lock = threading.Lock()
        self._inside: list[tuple[Moment, int, float]] = []
        self._writing: list[Path] = []
        self._missed = 0
        self.seconds: dict[str, list[float]] = {}
        self.points: dict[str, dict[str, int]] = {}

    @contextmanager
    def within(self, moment: Moment) -> Iterator[None]:
        self.enter(moment)
        try:
            yield
        finally:
            self.leave()

    def enter(self, moment: Moment) -> None:
        spent = self.seconds.setdefault(moment, [])
        spent.append(0.0)
        here = (moment, len(spent), time.perf_counter())
        with self._lock:
            self._inside.append(here)
        shot = self._shot
        if shot and not shot.point and shot.moment == moment and len(spent) >= shot.nth:
            wait = shot.seconds / 2**self._missed
            threading.Thread(target=self._kill_later, args=(here, wait), daemon=True).start()
            self._missed += 1  # if this process lives on, it was

    def leave(self) -> None:
        with self._lock:  # a thread that holds it is about to kill
            moment, nth, began = self._inside.pop()
        self.seconds[moment][nth - 1] = time.perf_counter() - began

    def reached(self, point: points.Point, path: Path) -> None:
        """In the place of `mindprint.disk.points.reached`. What is written within a folder that
        is being written belongs to the folder."""
        if point == "begun":
            self._writing.append(path)
            if len(self._writing) == 1:
                self.enter(moment_of(path))
        if len(self._writing) == 1:
            self._pass(point, path)
        if point == "done":
            if len(self._writing) == 1:
                self.leave()
            self._writing.remove(path)

    def _pass(self, point: points.Point, path: Path) -> None:
        moment, shot = moment_of(path), self._shot
        counts = self.points.setdefault(moment, {})
        counts[point] = counts.get(point, 0) + 1
        if shot and (shot.moment, shot.point, shot.nth) == (moment, point, counts[point]):
            self._kill({"point": point, "path": str(path), "nth": counts[point]})

    def _kill_later(self, here: tuple[Moment, int, float], wait: float) -> None:
        time.sleep(wait)
        with self._lock:
            if here in self._inside:
                _, nth, began = here
                self._kill({"nth": nth, "seconds": time.perf_counter() - began})

    def _kill(self, how: dict[str, Any]) -> None:
        shot = asdict(self._shot) if self._shot else {}
        with self._note.open("w", encoding="utf-8") as stream:
            json.dump({"moment": shot.get("moment"), "died": how, "shot": shot}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # the signal is under way: nothing more may happen here


def install(watcher: Watcher, backend: str) -> None:
    """Put the hooks in place in this process. Raises LookupError when a moment has gone."""
    sys.setswitchinterval(SWITCH)
    importlib.import_module("mindprint.pipeline")
    points.reached = watcher.reached
    exam = importlib.import_module("mindprint.evals.exam").Examiner
    loop = importlib.import_module("mindprint.training").StageLoop
    adapters = importlib.import_module(f"backends.{backend}.adapters")
    manager = getattr(adapters, f"{backend.capitalize()}Adapters")
    for owner, name, moment in (
        (loop, "_one_step", "step"),
        (exam, "ask_many", "evaluation"),
        (exam, "ask_open", "evaluation"),
        (manager, "freeze", "handoff"),
        (manager, "merge_and_unload", "handoff"),
    ):
        _around(watcher, owner, name, moment)
    _everywhere(watcher, "reference_logprobs", "reference")


def _around(watcher: Watcher, owner: Any, name: str, moment: Any) -> None:
    real = getattr(owner, name, None)
    if real is None:
        raise LookupError(f"{owner} has no `{name}`: the moment `{moment}` is not to be found")
    setattr(owner, name, _wrapped(watcher, real, moment))


def _everywhere(watcher: Watcher, name: str, moment: Any) -> None:
    """A function under every name that it was imported as."""
    held = [m for key, m in list(sys.modules.items()) if key.startswith("mindprint.")]
    holders = [module for module in held if callable(getattr(module, name, None))]
    if not holders:
        raise LookupError(f"no module has `{name}`: the moment `{moment}` is not to be found")
    real = getattr(holders[0], name)
    for module in holders:
        setattr(module, name, _wrapped(watcher, real, moment))


def _wrapped(watcher: Watcher, real: Callable[..., Any], moment: Any) -> Callable[..., Any]:
    @wraps(real)
    def within(*args: Any, **kwargs: Any) -> Any:
        with watcher.within(moment):
            return real(*args, **kwargs)

    return within

"""One curriculum trained on several backends under one folder, and what came of it compared."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mindprint.boundary import finished
from mindprint.cli import output
from mindprint.cli.compared import ON_BACKENDS, is_run
from mindprint.cli.interrupt import hush
from mindprint.cli.relay import Relay
from mindprint.cli.sides import Side, check_sides, known, sides_of
from mindprint.compare.model import Comparison
from mindprint.errors import ConfigError, Exit, Interrupted, MindprintError
from mindprint.rundir import RunDir


@dataclass(frozen=True)
class Task:
    """What every run is made of, as the command line gave it."""

    curriculum: Path
    model: str | None
    device: str
    config: Path | None
    settings: tuple[str, ...]
    topics: tuple[str, ...]

    @classmethod
    def asked(
        cls,
        named: Sequence[Path],
        model: str | None,
        device: str,
        config: Path | None,
        settings: Sequence[str],
        topics: Sequence[str],
    ) -> Task:
        """Raises ConfigError when `named` is not one curriculum."""
        runs = [folder for folder in named if is_run(folder)]
        if runs:
            what = f"`--backends` trains a curriculum, and `{runs[0]}` is a run"
            hint = "leave `--backends` out to compare runs that are there"
            raise ConfigError(what, where="--backends", hint=hint)
        if len(named) > 1:
            what = f"`--backends` trains one curriculum, and {len(named)} folders are named"
            raise ConfigError(what, where="CURRICULUM", hint=ON_BACKENDS)
        return cls(named[0], model, device, config, tuple(settings), tuple(topics))

    def words(self) -> list[str]:
        """The options as `train` and `compare` both take them."""
        pairs = (
            ("--model", self.model),
            ("--device", self.device),
            ("--config", self.config),
            *(("--set", setting) for setting in self.settings),
            *(("--topic", topic) for topic in self.topics),
        )
        return [str(word) for name, value in pairs if value is not None for word in (name, value)]


class NotTrained(MindprintError):
    """A run that was to be compared ended with a failure of its own."""

    def __init__(self, side: Side, code: int, again: str) -> None:
        how = f"exit code {code}"
        if code < 0:
            how = f"signal {-code} ({signal.Signals(-code).name})"
        super().__init__(
            f"`{side.name}` could not be trained: it ended with {how}",
            where=str(side.folder),
            hint=f"mend what it says above, then the same command goes on: {again}",
        )
        known_codes = {Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE}
        self.exit = Exit(code) if code in known_codes else Exit.BUG


def matched(task: Task, backends: str, place: Path) -> Comparison:
    """Train what is missing under `place` and compare all of it.

    Raises what `train` raises of its inputs, before anything is trained; Differs when a run that
    is there was made of other inputs; NotTrained; Interrupted.
    """
    from mindprint.compare.read import compared

    names = known(backends)
    sides = check_sides(sides_of(names, place), task)
    words = ["mindprint", "compare", str(task.curriculum), "--backends", ",".join(names)]
    again = f"`{shlex.join([*words, *task.words(), '--out', str(place)])}`"
    relay = Relay()
    with relay.listening():
        try:
            for number, side in enumerate(sides, 1):
                _train(side, task, relay, f"{number} of {len(sides)}", again)
        except KeyboardInterrupt as error:
            raise _stopped("stopped between two runs", place, again) from error
    return compared([(side.name, side.folder) for side in sides])


def _train(side: Side, task: Task, relay: Relay, place: str, again: str) -> None:
    """One run to its end, unless it is there. A topic that failed its gate is a result too."""
    if side.state == "finished":
        output.note(f"{side.name} ({place}): finished before, kept in {side.folder}")
        return
    doing = "training" if side.state == "new" else "going on"
    output.note(f"{side.name} ({place}): {doing} in {side.folder}")
    code = relay.run(side.words(task))
    if relay.heard or code == Exit.INTERRUPTED:
        raise _stopped(f"stopped while `{side.name}` was trained", side.folder, again)
    ended = code in (Exit.DONE, Exit.GATE)
    if not ended or finished(RunDir(side.folder), side.topics) is None:
        raise NotTrained(side, code, again)


def _stopped(what: str, where: Path, again: str) -> Interrupted:
    hush()
    return Interrupted(what, where=str(where), hint=f"the same command goes on: {again}")

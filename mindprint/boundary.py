"""How far a run is: the topic it stands in, and whether anything is left to do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mindprint import ledger as ledgers
from mindprint.checkpoints import STATE
from mindprint.disk.sealed import is_whole, read_json
from mindprint.errors import ConfigError
from mindprint.finished import RECORD
from mindprint.inputs import Inputs
from mindprint.ledger import LEDGER
from mindprint.report.files import RESULT, read_result
from mindprint.report.model import Result
from mindprint.rundir import RunDir
from mindprint.sameness import fork_command
from mindprint.topic_folder import stages_of


def finished(run: RunDir, topics: Sequence[str]) -> Result | None:
    """The result of a run in which nothing is left to do; None of any other."""
    if not all((run.path / name).is_file() for name in (RESULT, LEDGER)):
        return None
    result = read_result(run.path)
    known = {entry.topic for entry in ledgers.read(run).entries}
    recorded = all((run.topic(topic) / RECORD).is_file() for topic in topics)
    same = [topic.id for topic in result.topics] == list(topics)
    done = result.status == "finished" and recorded and same and known >= set(topics)
    return result if done else None


def check_trained(run: Path, inputs: Inputs) -> Path:
    """Where the run's curriculum lay. Raises ConfigError for an adopted adapter, which has none and
    no training to go on with."""
    if inputs.curriculum is None:
        raise ConfigError(
            "an adopted adapter has no topics to go on with",
            where=str(run),
            hint=f"`mindprint train CURRICULUM --from {shlex.quote(str(run))}` trains over it, "
            "in a new run",
        )
    return inputs.curriculum


def check_boundary(
    run: RunDir, topics: Sequence[str], option: str, then: str, asked: Sequence[str]
) -> None:
    """Raises ConfigError, saying how far it is, when a topic is under way on the backend or device
    `then`: it is finished there before the run goes on with what `option` named. `asked`: all that
    the command line asked for."""
    topic = next((one for one in topics if not (run.topic(one) / RECORD).is_file()), None)
    if topic is None:
        return
    far = _how_far(run, topic)
    if far:
        raise ConfigError(
            f"topic `{topic}` is under way on {then}: {far}",
            where=option,
            hint=f"finish the topic with `mindprint resume {shlex.quote(str(run.path))}` first, "
            f"or begin it anew with {fork_command(run.path, asked)}",
        )


def _how_far(run: RunDir, topic: str) -> str:
    """`sft finished, dpo at step 120`, or nothing where the topic has not begun."""
    folder = run.topic(topic)
    said = [f"{stage.name} finished" for stage in stages_of(folder)]
    at = _step(run, topic)
    if at:
        said.append(at)
    if not said and folder.is_dir() and any(folder.iterdir()):
        said.append("it was asked its questions")
    return ", ".join(said)


def _step(run: RunDir, topic: str) -> str:
    """The stage whose checkpoints lie there, and the newest one's step."""
    for file in sorted(run.checkpoints.glob(f"*/{STATE}"), reverse=True):
        state = read_json(file) if is_whole(file) else {}
        if state.get("topic") == topic:
            return f"{state['stage']} at step {state['progress']['step']}"
    return ""

"""`mindprint eval`: any model over a curriculum's quizzes, or over tasks of lm-eval."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mindprint.cli.options import BackendName, ConfigFile, Device, Json, Settings, Topics

if TYPE_CHECKING:
    from mindprint.target import Target

Named = Annotated[
    str, typer.Argument(metavar="RUN|MODEL", help="run folder, model folder or hub id")
]
Curriculum = Annotated[
    Path | None, typer.Argument(metavar="[CURRICULUM]", help="curriculum folder; a run has its own")
]
Adapters = Annotated[
    list[Path] | None,
    typer.Option("--adapter", metavar="DIR", help="PEFT folder to put on it; repeatable, in order"),
]
Base = Annotated[
    str | None,
    typer.Option("--base", metavar="PATH|ID", help="the voice's 0 [default: without its adapters]"),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TOPIC", help="a run as it was after a topic")
]
Tasks = Annotated[
    str | None,
    typer.Option("--tasks", metavar="TASK,..", help="lm-evaluation-harness tasks instead"),
]
IncludePath = Annotated[
    Path | None, typer.Option("--include-path", metavar="DIR", help="folder of task files")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="only so many rows of each task")
]
Chat = Annotated[bool, typer.Option("--chat", help="put the tasks into the model's chat template")]


def evaluate(
    named: Named,
    curriculum: Curriculum = None,
    adapters: Adapters = None,
    base: Base = None,
    until: Until = None,
    topics: Topics = None,
    tasks: Tasks = None,
    include_path: IncludePath = None,
    limit: Limit = None,
    chat: Chat = False,
    backend: BackendName = "",
    device: Device = "",
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Ask a run's model, or any other, a curriculum's quizzes and print its scores.

    Nothing is written. With --tasks it is lm-evaluation-harness that asks.
    """
    from mindprint.target import Target

    _check_together(tasks, curriculum, base, topics, include_path, limit, chat)
    target = Target.find(
        named,
        adapters=adapters or (),
        until=until,
        backend=backend,
        device=device,
        config=config,
        settings=settings or (),
    )
    if tasks is not None:
        from mindprint.cli.harness import run_tasks

        _check_settings(target, config)
        run_tasks(target, tasks, include_path, limit, chat, as_json)
    else:
        _over_curriculum(target, curriculum, base, topics, as_json)


def _over_curriculum(
    target: Target,
    folder: Path | None,
    base: str | None,
    topics: list[str] | None,
    as_json: bool,
) -> None:
    from mindprint.cli import output
    from mindprint.cli.evaluated import show
    from mindprint.curriculum.load import read_curriculum
    from mindprint.errors import ConfigError
    from mindprint.evaluation import evaluate
    from mindprint.plan import chosen_topics
    from mindprint.target import Target

    where = folder or (target.inputs.curriculum if target.inputs is not None else None)
    if where is None:
        what = "an adopted adapter" if target.inputs is not None else "a model"
        named = shlex.quote(str(target.run)) if target.run is not None else "MODEL"
        hint = f"name its folder: `mindprint eval {named} CURRICULUM`"
        raise ConfigError(f"{what} brings no curriculum", where="CURRICULUM", hint=hint)
    curriculum = read_curriculum(where)
    began = target.inputs if folder is None else None
    if began is not None and dict(began.hashes) != dict(curriculum.hashes):
        output.note("the curriculum has changed since the run began")
    if began is not None and not topics:
        topics = _still_there(began.topics, [topic.id for topic in curriculum.topics])
    chosen = chosen_topics(curriculum, topics)
    zero = None if base is None else Target.beside(base, target, "--base")
    found = evaluate(target, curriculum, chosen, zero, output.note)
    if as_json:
        output.result(found.model_dump(mode="json"))
    else:
        show(found)


def _still_there(taught: Sequence[str], known: Sequence[str]) -> list[str]:
    """The topics of a run that its curriculum still has; the others are said aloud.

    Raises ConfigError where none is left.
    """
    from mindprint.cli import output
    from mindprint.errors import ConfigError

    gone = [f"`{name}`" for name in taught if name not in known]
    if not gone:
        return list(taught)
    what = f"the run taught {', '.join(gone)}, which the curriculum no longer has"
    left = [name for name in taught if name in known]
    if not left:
        hint = f"name what to ask with `--topic`; the topics are: {', '.join(known)}"
        raise ConfigError(what, where="CURRICULUM", hint=hint)
    output.note(f"{what}: the rest is asked")
    return left


def _check_settings(target: Target, config: Path | None) -> None:
    """Raises ConfigError for a setting that was given and that no task of lm-eval goes by."""
    from mindprint.errors import ConfigError

    for key, origin in target.resolved.origins.items():
        plays = key == "run.seed" or key.startswith("model.")
        if not plays and origin.startswith(("--set ", f"{config}:")):
            hint = "tasks of lm-eval go by `model.*` and `run.seed` alone; leave it out"
            raise ConfigError(f"`{key}` has no part in `--tasks`", where=origin, hint=hint)


def _check_together(
    tasks: str | None,
    curriculum: Path | None,
    base: str | None,
    topics: list[str] | None,
    include_path: Path | None,
    limit: int | None,
    chat: bool,
) -> None:
    """Raises ConfigError for options of the other kind of evaluation."""
    from mindprint.errors import ConfigError

    quiz = {"CURRICULUM": curriculum, "--base": base, "--topic": topics}
    harness = {"--include-path": include_path, "--limit": limit, "--chat": chat}
    idle = [name for name, given in (harness if tasks is None else quiz).items() if given]
    if idle and tasks is None:
        raise ConfigError(f"`{idle[0]}` is for `--tasks`", where=idle[0], hint="name the tasks")
    if idle:
        hint = "leave it out, or leave `--tasks` out"
        raise ConfigError(f"`{idle[0]}` has no part in `--tasks`", where=idle[0], hint=hint)

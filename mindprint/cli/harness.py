"""Tasks of lm-evaluation-harness, asked of a model that was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindprint.cli import output
from mindprint.errors import ConfigError
from mindprint.evals.harness import open_lm
from mindprint.target import Target


def run_tasks(
    target: Target,
    tasks: str,
    include_path: Path | None,
    limit: int | None,
    chat: bool,
    as_json: bool,
) -> None:
    """Print lm-eval's own table, or its results as JSON. Raises ConfigError with lm-eval's words
    for a task that is not there or cannot be loaded, before any weight is."""
    from lm_eval import simple_evaluate
    from lm_eval.utils import make_table

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if not names:
        raise ConfigError("no task is named", where="--tasks", hint="as `--tasks arc_easy,mine`")
    manager = _manager(names, include_path)
    _load(names, manager)
    with open_lm(target) as model:
        found: Any = simple_evaluate(
            model=model,
            tasks=names,
            task_manager=manager,
            limit=limit,
            apply_chat_template=chat,
            log_samples=False,
            batch_size=model.batch_size,
        )
    if as_json:
        wanted = ("results", "groups", "configs", "versions", "n-shot", "n-samples", "config")
        output.result(_plain({key: found[key] for key in wanted if key in found}))
        return
    output.table(make_table(found))
    if found.get("groups"):
        output.table(make_table(found, "groups"))


def _manager(names: Sequence[str], folder: Path | None) -> Any:
    """lm-eval's index of tasks: of the folder alone if it has all that are named, since going
    through the thousands that come with lm-eval takes it many seconds."""
    from lm_eval.tasks import TaskManager

    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"there is no folder `{folder}`", where="--include-path")
        own = TaskManager(include_path=str(folder), include_defaults=False)
        if not _unknown(names, own):
            return own
    found = TaskManager(include_path=None if folder is None else str(folder))
    for name in _unknown(names, found):
        hint = "`lm-eval ls tasks` lists those that come with it; yours: `--include-path DIR`"
        raise ConfigError(f"lm-eval has no task `{name}`", where="--tasks", hint=hint)
    return found


def _unknown(names: Sequence[str], manager: Any) -> list[str]:
    known = {*manager.all_tasks, *manager.all_groups, *manager.all_tags}
    return [name for name in names if name not in known]


def _load(names: Sequence[str], manager: Any) -> None:
    """Load every task once: the data of one may have to come from the hub."""
    for name in names:
        try:
            manager.load([name])
        except Exception as error:  # whatever a task's own code, `datasets` or the hub raises
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(f"lm-eval cannot load `{name}`: {first}", where="--tasks") from error


def _plain(value: Any) -> Any:
    """Numbers, texts, lists and mappings as they are; anything else by its name."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)

"""Tasks of lm-evaluation-harness, asked of a model that was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backends.errors import reason
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
    """Print lm-eval's own table, or its results as JSON. `tasks`: names, patterns of names, and
    task files, apart by commas. Raises ConfigError with lm-eval's words for a task that is not
    there or cannot be loaded, before any weight is."""
    from lm_eval import simple_evaluate
    from lm_eval.utils import make_table

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if not names:
        raise ConfigError("no task is named", where="--tasks", hint="as `--tasks arc_easy,mine`")
    manager = _manager(names, include_path)
    names = _matched(names, manager)
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
    """lm-eval's index of tasks. Going through the thousands that come with lm-eval takes it many
    seconds, so they are left out where the files named, or the folder, hold all that is asked."""
    from lm_eval.tasks import TaskManager

    if folder is not None and not folder.is_dir():
        raise ConfigError(f"there is no folder `{folder}`", where="--include-path")
    include = None if folder is None else str(folder)
    own = TaskManager(include_path=include, include_defaults=False)
    return own if _holds_all(names, own) else TaskManager(include_path=include)


def _holds_all(names: Sequence[str], own: Any) -> bool:
    """Whether no task that comes with lm-eval can be meant: a pattern may match some of them, and
    a group may be of them."""
    files = [Path(file) for name in names if _is_file(name) for file in _files(name)]
    tasks = {*own.all_tasks} - {*own.all_groups}
    grouped = any(re.search(rb"^group\s*:", file.read_bytes(), re.M) for file in files)
    return not grouped and all(_is_file(name) or name in tasks for name in names)


def _matched(names: Sequence[str], manager: Any) -> list[str]:
    """Names and files as lm-eval's own command matches them, each once, in the order given."""
    found: dict[str, None] = {}
    for name in names:
        matches = _files(name) if _is_file(name) else manager.match_tasks([name])
        if not matches and _is_file(name):
            raise ConfigError(f"there is no task file `{name}`", where="--tasks")
        if not matches:
            hint = "`lm-eval ls tasks` lists those that come with it; yours: `--include-path DIR`"
            raise ConfigError(f"lm-eval has no task `{name}`", where="--tasks", hint=hint)
        found.update(dict.fromkeys(matches))
    return list(found)


def _is_file(name: str) -> bool:
    return name.endswith(".yaml")


def _files(name: str) -> list[str]:
    """The task files that a path, or a pattern of paths, names."""
    path = Path(name).expanduser().absolute()
    if path.is_file():
        return [str(path)]
    return sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor)))))


def _load(names: Sequence[str], manager: Any) -> None:
    """Load every task once: the data of one may have to come from the hub."""
    for name in names:
        try:
            manager.load([name])
        except Exception as error:  # whatever a task's own code, `datasets` or the hub raises
            raise _unloadable(name, manager, error) from error


def _unloadable(name: str, manager: Any, error: Exception) -> ConfigError:
    """lm-eval's words, with the name of the task and of the file that describes it."""
    entry = manager.task_index.get(name)
    file = name if _is_file(name) else entry and entry.yaml_path
    hint = f"the task is described in {file}" if file else "the task has no file of its own"
    why = reason(error)
    if error.__cause__ is not None:  # `datasets` says there which file it could not read
        why = f"{why.rstrip('.')}: {reason(error.__cause__)}"
    called = Path(name).name if _is_file(name) else name
    what = f"lm-eval cannot load `{called}`: {why}"
    return ConfigError(what, where=f"--tasks {name}", hint=f"{hint}; data may come from the hub")


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

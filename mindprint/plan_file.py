"""plan.json: what was going to happen, held against what is going to happen now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mindprint.disk.sealed import read_json, write_json
from mindprint.errors import ConfigError
from mindprint.plan import Plan
from mindprint.rundir import RunDir

PLAN = "plan.json"
SAME = ("questions", "retained_questions", "open_prompts", "longest_row", "retries")
"""What equal inputs give equally; what was chosen for this machine may differ."""
FEW = 5


def keep_plan(run: RunDir, plan: Plan) -> None:
    """Write it, or see that it is the one that the run began with. Raises ConfigError naming what
    differs, Damaged when the file is not as it was written."""
    where = run.path / PLAN
    now: dict[str, Any] = json.loads(json.dumps(plan.as_json()))
    if not where.is_file():
        write_json(where, now)
        return
    found = list(_differences(read_json(where), now))
    if found:
        more = f", and {len(found) - FEW} more" if len(found) > FEW else ""
        raise ConfigError(
            f"the plan is not the one that the run began with: {'; '.join(found[:FEW])}{more}",
            where=str(where),
            hint="the same inputs give the same plan: put them back as they were, or start a new "
            f"run with `mindprint resume {run.path} --fork NEW`",
        )


def _differences(then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """`topic sft: steps 4 -> 6`."""
    for key in SAME:
        if then.get(key) != now.get(key):
            yield f"{key} {then.get(key)} -> {now.get(key)}"
    was, is_ = _stages(then), _stages(now)
    for name in [*was, *(name for name in is_ if name not in was)]:
        if name not in is_ or name not in was:
            yield f"{name}: {'no longer planned' if name in was else 'was not planned'}"
            continue
        for key in sorted(was[name].keys() | is_[name].keys()):
            if was[name].get(key) != is_[name].get(key):
                yield f"{name}: {key} {was[name].get(key)} -> {is_[name].get(key)}"


def _stages(tree: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{stage['topic']} {stage['name']}": stage for stage in tree.get("stages", [])}

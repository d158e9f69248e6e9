"""Whether two runs of a stage must agree at all: only what began alike can be held to a bound."""

from __future__ import annotations

from collections.abc import Mapping

from mindprint.compare.run import Place, Run
from mindprint.compare.settings import shown
from mindprint.report.summary import choice

SHAPING = ("adapter.", "strategy.", "run.seed", "model.quantization", "model.enable_thinking")
"""Settings, by how they begin, that shape what every stage computes."""

DECIDES = frozenset({"dpo.when"})
"""Settings that say whether a stage is trained, not how."""

ASKED = ("quiz", "topic.yaml")
"""Files of a topic's folder that nothing is trained on, by how their names begin."""


def claims(first: Run, other: Run) -> dict[Place, str]:
    """For each stage that both have: why no bound can be claimed for it, "" where one can."""
    whole = _whole(first, other)
    found: dict[Place, str] = {}
    broken = ""
    for number, topic in enumerate(first.topics):
        broken = broken or _order(first, other, number)
        stages = [place for place in first.stages if place.topic == topic.id]
        for place in stages:
            if place in other.stages:
                found[place] = whole or _stage(first, other, place) or broken
        broken = broken or _left(first, other, topic.id, found)
    return found


def _whole(first: Run, other: Run) -> str:
    """What holds of the runs as a whole."""
    here, there = first.result.model, other.result.model
    if here.id != there.id:
        return "the models differ"
    low = next((one.dtype for one in (here, there) if one.dtype != "float32"), "")
    if low:
        return f"the weights are {low}, whose rounding no bound on float32 covers"
    if any(run.value("model.quantization") not in (None, "none") for run in (first, other)):
        return "the weights are quantized, otherwise on each backend"
    drops = any(run.value("adapter.dropout") for run in (first, other))
    if drops and _draws(first) != _draws(other):
        return "dropout draws other masks on each backend"
    if _inherited(first) != _inherited(other):
        return "the runs began with other adapters"
    return _carried(first, other) if _inherited(first) else ""


def _carried(first: Run, other: Run) -> str:
    """Where there is a past, it acts otherwise when it is merged, stacked, or trained on."""
    same = choice(first.result, "handoff") == choice(other.result, "handoff")
    return "" if same else "the past is carried otherwise (`handoff`)"


def _draws(run: Run) -> tuple[str, str, str]:
    """Whose random numbers its dropout goes by."""
    return run.backend, run.engine, run.result.model.device


def _inherited(run: Run) -> tuple[str, ...]:
    """Hashes of adapters in the ledger that no topic of this run made."""
    own = {topic.id for topic in run.topics}
    entries = run.ledger.entries if run.ledger is not None else ()
    return tuple(entry.sha256 for entry in entries if entry.accepted and entry.topic not in own)


def _order(first: Run, other: Run, number: int) -> str:
    """The topics up to this one were the same, in the same order."""
    taught = [[topic.id for topic in run.topics[: number + 1]] for run in (first, other)]
    return "" if taught[0] == taught[1] else "other topics were taught before it"


def _stage(first: Run, other: Run, place: Place) -> str:
    if odd := _settings(first, other, place):
        return f"settings differ: {', '.join(f'`{key}`' for key in odd[:3])}"
    if odd := _files(first, other, place.topic):
        return f"other data: {', '.join(f'`{name}`' for name in odd[:3])}"
    if place.stage == "dpo" and first.value("dpo.pairs") != "file":
        return "the pairs were drawn from each run's own model"
    here, there = first.stages[place], other.stages[place]
    if place in (first.in_hand, other.in_hand):  # a checkpoint does not count its rows
        return ""
    if here.rows != there.rows:
        return f"other data: {here.rows} and {there.rows} rows"
    return ""


def _settings(first: Run, other: Run, place: Place) -> list[str]:
    """Settings that shape the stage, SFT's also where DPO goes on from it."""
    shaping = (*SHAPING, "sft.", "dpo.") if place.stage == "dpo" else (*SHAPING, "sft.")
    keys = dict.fromkeys([*first.result.config, *other.result.config])
    return [
        key
        for key in keys
        if key.startswith(shaping) and key not in DECIDES and _odd(first, other, key)
    ]


def _odd(first: Run, other: Run, key: str) -> bool:
    """A setting that only one of the runs knows counts as it is shown: as nothing."""
    return first.value(key) != other.value(key) or shown(first, key) != shown(other, key)


def _files(first: Run, other: Run, topic: str) -> list[str]:
    """Files that the topic's rows are rendered from and are not the same in both."""
    here, there = first.result.hashes, other.result.hashes
    trained = [name for name in sorted(here.keys() | there.keys()) if _trains(name, topic)]
    return [name for name in trained if here.get(name) != there.get(name)]


def _trains(name: str, topic: str) -> bool:
    """`curriculum.yaml` holds the system prompt of every row."""
    inside = name.startswith(f"{topic}/")
    leaf = name.rsplit("/", 1)[-1]
    return name == "curriculum.yaml" or (inside and not leaf.startswith(ASKED))


def _left(first: Run, other: Run, topic: str, found: Mapping[Place, str]) -> str:
    """Whether what the topic left behind must be the same for the topics after it."""
    kept = [run.accepted(topic) for run in (first, other)]
    if kept[0] != kept[1]:
        return "an earlier topic left other adapters in force"
    odd = next((found[place] for place in kept[0] if found.get(place)), "")
    if odd:
        return f"an earlier topic was already trained otherwise ({odd})"
    return _carried(first, other) if kept[0] else ""

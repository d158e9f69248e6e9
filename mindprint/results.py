"""From what a run did to `result.json`, and the resolved configuration beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import Any, Literal

from backends.contract import Choice, ModelInfo, Session
from mindprint import __version__
from mindprint.config import Config, Resolved
from mindprint.curriculum.records import Curriculum
from mindprint.disk.whole import write_text
from mindprint.evals.changes import clear, overall
from mindprint.evals.forgetting import Kept, transfers
from mindprint.handoff import why_stacked
from mindprint.report import endings
from mindprint.report.files import RESULT, read_result
from mindprint.report.kept import Retained, Transfer
from mindprint.report.model import (
    ChoiceRecord,
    MemorySample,
    ModelRecord,
    Result,
    Status,
    Timings,
    TopicRecord,
)
from mindprint.report.voice import VoiceRecord
from mindprint.report.words import several
from mindprint.rundir import RunDir
from mindprint.versions import versions


@dataclass(frozen=True)
class Header:
    """What a result says of a run besides its topics."""

    curriculum: Curriculum
    resolved: Resolved
    model_path: str
    choices: tuple[Choice, ...]
    command: str
    notes: tuple[str, ...]
    expected_memory: Mapping[str, int] = field(default_factory=dict)


def assemble(
    header: Header,
    session: Session,
    *,
    status: Status,
    topics: Sequence[TopicRecord],
    retained: tuple[Retained, ...],
    voice: VoiceRecord | None,
    memory: tuple[MemorySample, ...],
    timings: Timings,
    handoff: str,
    past: Sequence[str] = (),
    dropped: Sequence[str] = (),
) -> Result:
    """`past`: kinds of the adapters that the run began with. `dropped`: topics without which the
    model was asked again, others having been judged then."""
    curriculum, info = header.curriculum, session.info
    chosen = Choice(handoff, _why(header.resolved, handoff, info, past), "handoff")
    config = header.resolved.config
    result = Result(
        mindprint=__version__,
        status=status,
        verdict="",
        title=curriculum.title,
        author=curriculum.author,
        curriculum=curriculum.root.name,
        curriculum_note=curriculum.note,
        model=model_record(session, header.model_path, header.resolved.config.model.revision),
        choices=tuple(ChoiceRecord(**asdict(choice)) for choice in (*header.choices, chosen)),
        config=header.resolved.listing(),
        topics=tuple(_cleared(topics)),
        changes=overall(topics, seed=config.run.seed, resamples=config.eval.resamples),
        voice=voice,
        forgetting=retained,
        transfer=_transfer(retained, topics, config),
        memory=memory,
        expected_memory=dict(header.expected_memory),
        timings=timings,
        versions=versions(),
        hashes=dict(curriculum.hashes),
        formats=dict(curriculum.formats),
        notes=header.notes,
        command=header.command,
    )
    return result.model_copy(update={"verdict": verdict(result, dropped)})


def model_record(session: Session, called: str, revision: str | None) -> ModelRecord:
    """The opened model as reports have it; `called`: how they name it."""
    info = session.info
    return ModelRecord(
        path=called,
        revision=revision,
        id=session.model_id,
        family=info.family,
        parameters=info.parameters,
        dtype=info.dtype,
        device=info.device,
        threads=info.threads,
        blas=info.blas,
    )


def _transfer(
    rows: Sequence[Retained], topics: Sequence[TopicRecord], config: Config
) -> dict[Kept, Transfer]:
    names = [topic.id for topic in topics]
    return transfers(rows, names, seed=config.run.seed, resamples=config.eval.resamples)


def _cleared(topics: Sequence[TopicRecord]) -> list[TopicRecord]:
    """The topics with what changed beyond noise over all of them."""
    done = [topic for topic in topics if topic.changes]
    found = dict(zip((topic.id for topic in done), clear([t.changes for t in done]), strict=True))
    return [
        topic.model_copy(update={"clear": found[topic.id]}) if topic.id in found else topic
        for topic in topics
    ]


def verdict(result: Result, dropped: Sequence[str] = ()) -> str:
    """The run in two or three sentences, with its numbers: how topics ended, and what is kept.
    `dropped`: as for `assemble`."""
    topics = result.topics
    done = [topic for topic in topics if topic.status in ("passed", "failed")]
    if not done:
        return "No topic is finished yet."
    passed = sum(topic.status == "passed" for topic in done)
    accuracy, voice = _mean(done, "accuracy"), _mean(done, "voice")
    was_accuracy, was_voice = _mean(done, "accuracy", "base"), _mean(done, "voice", "base")
    open_ = len(topics) - len(done)
    rest = f" {several(open_, 'topic')} still to come." if open_ else ""
    kept = f" {said}" if (said := endings.told(result)) else ""
    return (
        f"{passed} of {len(done)} topics passed{_when(dropped)}: accuracy "
        f"{was_accuracy:.2f} -> {accuracy:.2f}{_sure(result)}, voice {was_voice:.2f} -> "
        f"{voice:.2f} (means over topics, base -> final).{kept}{rest}"
    )


def _when(dropped: Sequence[str]) -> str:
    """At which end the topics were judged."""
    if not dropped:
        return ", each judged at its own end"
    gone = ", ".join(f"`{name}`" for name in dropped)
    are = "is" if len(dropped) == 1 else "are"
    since = "each judged as it stood then or, if trained since, at its own end"
    return f" now that {gone} {are} dropped, {since}"


def _sure(result: Result) -> str:
    """How sure the change of accuracy is, over all questions."""
    change = result.changes.get("accuracy")
    if change is None:
        return ""
    noise = "" if change.rose or change.fell else ", within noise"
    return (
        f" (95 % interval of the change {change.low:+.2f} to {change.high:+.2f} over "
        f"{change.clusters} questions{noise})"
    )


def earlier_result(run: RunDir) -> Result | None:
    """What an earlier process left of the run's truth."""
    return read_result(run.path) if (run.path / RESULT).is_file() else None


def add_timings(earlier: Timings, now: Timings) -> Timings:
    figures = {name: value + getattr(now, name) for name, value in earlier.model_dump().items()}
    return Timings(**{name: round(value, 2) for name, value in figures.items()})


def write_config(run: RunDir, resolved: Resolved) -> None:
    """config.yaml: every key, its value, and where the value came from as a comment."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    root: Any = CommentedMap()
    for key, (value, origin) in resolved.listing().items():
        section, dot, leaf = key.partition(".")
        node, name = (root.setdefault(section, CommentedMap()), leaf) if dot else (root, section)
        node[name] = list(value) if isinstance(value, tuple) else value
        node.yaml_add_eol_comment(origin, name)
    stream = StringIO()
    YAML(typ="rt", pure=True).dump(root, stream)
    write_text(run.path / "config.yaml", stream.getvalue())


def _mean(
    topics: Sequence[TopicRecord], figure: str, state: Literal["base", "final"] = "final"
) -> float:
    values = [getattr(topic.scores[state], figure) for topic in topics if state in topic.scores]
    return sum(values) / len(values) if values else 0.0


def _why(resolved: Resolved, handoff: str, info: ModelInfo, past: Sequence[str]) -> str:
    if resolved.config.handoff != "auto":
        return f"as set by {resolved.origins.get('handoff', 'default')}"
    if handoff == "merge":
        return f"the weights are {info.dtype}, so a merge keeps the adapters"
    why = why_stacked(resolved.config, info.dtype, info.quantization, past)
    return why or "as the run that it comes of carried its past"

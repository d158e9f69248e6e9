"""Whether a run goes on with what it began with: every difference named, no weight loaded."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.model_files import model_id
from mindprint.config import KEYS, Config, Resolved, flatten, resolve
from mindprint.curriculum.records import Curriculum
from mindprint.errors import ConfigError
from mindprint.inputs import FILE, Inputs, settled, with_values
from mindprint.results import write_config
from mindprint.rundir import RunDir
from mindprint.tokens.render import Renderer
from mindprint.versions import SHAPING, installed

PLACES = frozenset({"model.path", "model.revision"})
"""Where the model lies: its fingerprint tells whether it is the same."""

FREE = (
    "run.checkpoint_every",
    "run.on_oom",
    "run.memory_check",
    "run.cache",
    "model.gradient_checkpointing",
)
"""Settings that say how a run goes on; what comes of it goes by them only after a set-back, or
where the device was full. Checkpointing computes the same numbers once more."""

DEFAULTS = dict(flatten(Config().model_dump(mode="json")))
"""What a run went by in a key that came after it."""

RENDERING = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
CONFIG = "config.yaml"
MODEL = "model"
TOKENS = "tokenizer and template"


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was."""

    what: str
    then: str
    now: str


class Differs(ConfigError):
    """A run would go on with other inputs than it began with; `differences` names them all.

    `asked`: what the command line asked for beside the run's own, for a fork to be asked it too;
    `why`: a hint in place of that to fork it.
    """

    def __init__(
        self,
        run: Path,
        differences: Sequence[Difference],
        why: str = "",
        asked: Sequence[str] = (),
    ) -> None:
        fork = f"{fork_command(run, asked)} starts a new run from the last accepted entry"
        if any(one.what == MODEL for one in differences):
            fork = "begin a new run with `mindprint train`: adapters belong to their model"
        hint = why or f"put it back, or {fork}"
        many = "1 thing is" if len(differences) == 1 else f"{len(differences)} things are"
        what = f"the run cannot go on: {many} not as it began"
        super().__init__(what, where=str(run / FILE), hint=hint)
        self.differences = tuple(differences)

    def table(self) -> list[str]:
        """Lines of equal columns, headed."""
        head = Difference("what", "as the run began", "now")
        rows = [(one.what, one.then, one.now) for one in (head, *self.differences)]
        first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
        return [f"{what:<{first}}  {then:<{second}}  {now}" for what, then, now in rows]


def fork_command(run: Path, asked: Sequence[str] = ()) -> str:
    """The command that forks `run`, with the options that were asked for."""
    return f"`{shlex.join(['mindprint', 'resume', str(run), '--fork', 'NEW', *asked])}`"


@dataclass(frozen=True)
class Present:
    """What a run would go on with."""

    resolved: Resolved
    hashes: Mapping[str, str]
    topics: tuple[str, ...]
    model_id: str
    tokenizer: str
    versions: Mapping[str, str]

    @classmethod
    def of(
        cls,
        resolved: Resolved,
        curriculum: Curriculum,
        topics: Sequence[str],
        folder: Path,
        renderer: Renderer,
        own: Mapping[str, str],
        backend: str,
    ) -> Present:
        """`topics`: those the run is of; `own`: versions of the libraries of `backend`. Reads every
        file of the model once."""
        still = tuple(topic.id for topic in curriculum.topics if topic.id in topics)
        return cls(
            resolved=resolved,
            hashes=dict(curriculum.hashes),
            topics=still,
            model_id=model_id(folder, resolved.config.model.quantization, backend),
            tokenizer=tokenizer_id(renderer, folder),
            versions={**installed(SHAPING), **own},
        )


def tokenizer_id(renderer: Renderer, folder: Path) -> str:
    """SHA-256 over what turns text into ids and ids into text: the template and its options, and
    the tokenizer's files."""
    total = hashlib.sha256(renderer.template_id.encode())
    for name in RENDERING:
        if (folder / name).is_file():
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            total.update(f"{name} {digest}\n".encode())
    return total.hexdigest()


def check(run: Path, then: Inputs, now: Present, asked: Sequence[str] = ()) -> None:
    """Raises Differs with every difference that the result would show. `asked`: as for Differs."""
    found = differences(then, now)
    if found:
        raise Differs(run, found, asked=asked)


def differences(then: Inputs, now: Present) -> list[Difference]:
    return [
        *config_differences(then.config, settled(now.resolved)),
        *_curriculum(then.hashes, now.hashes),
        *_topics(then.topics, now.topics),
        *_hash(MODEL, then.model_id, now.model_id),
        *_hash(TOKENS, then.tokenizer, now.tokenizer),
        *_versions(then.versions, now.versions),
    ]


def config_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Settings whose values differ, but for those that may."""
    for key in KEYS:
        was, is_ = then.get(key, DEFAULTS[key]), now.get(key)
        if key not in PLACES and key not in FREE and was != is_:
            yield Difference(key, _shown(was), _shown(is_))


def differences_of_evaluation(then: Inputs, now: Inputs) -> list[Difference]:
    """Those by which what was asked of the model then cannot stand beside what is asked now."""
    asking = {key for key in KEYS if key.startswith("eval.") or key == "run.seed"}
    settings = config_differences(then.config, now.config)
    found = [one for one in settings if one.what in asking]
    found += _curriculum(then.hashes, now.hashes)
    found += _topics(then.topics, now.topics)
    found += _hash(TOKENS, then.tokenizer, now.tokenizer)
    found += _versions(then.versions, now.versions)
    pairs = (("backend", then.backend, now.backend), ("dtype", then.dtype, now.dtype))
    return found + [Difference(what, was, is_) for what, was, is_ in pairs if was != is_]


def freely_changed(then: Inputs, now: Resolved) -> tuple[str, ...]:
    """What is to be said of the settings that may change as a run goes on, and do."""
    values = settled(now)
    began = {**DEFAULTS, **then.config}
    return tuple(
        f"`{key}` is {_shown(values[key])} from here on, it was {_shown(began[key])}"
        for key in FREE
        if values[key] != began[key]
    )


def opened_differently(then: Inputs, opened_on: str, threads: int, blas: str) -> tuple[str, ...]:
    """What is to be said of a machine that computes otherwise, on the same backend."""
    pairs = (
        ("the device", then.opened_on, opened_on),
        ("the number of threads", then.threads, threads),
        ("the library that multiplies", then.blas, blas),
    )
    return tuple(
        f"{what} is `{now}`, the run began with `{was}`: last digits may differ"
        for what, was, now in pairs
        if was != now
    )


def kept_config(run: RunDir, inputs: Inputs) -> tuple[Resolved, tuple[str, ...]]:
    """The settings as config.yaml has them now, and what is to be said: a file that is missing,
    unreadable or not all there is to be written again from inputs.json.

    Raises ConfigError for a key or a value that cannot be.
    """
    own, file = inputs.resolved(), run.path / CONFIG
    if not file.is_file() and not (run.path / "ledger.json").is_file():
        return own, ()  # it ended before it began, and writes its settings as it begins
    why = _unreadable(file)
    if why:
        return own, (_again(why),)
    edited = resolve(file)
    values = settled(edited)
    began = {**DEFAULTS, **inputs.config}
    changed = [key for key in edited.origins if key not in PLACES and values[key] != began[key]]
    origins = {key: edited.origins[key] for key in changed}
    resolved = with_values(own, {key: values[key] for key in changed}, origins)
    whole = edited.origins.keys() >= set(KEYS)
    return resolved, () if whole else (_again("is not all there"),)


def _again(why: str) -> str:
    return f"{CONFIG} {why}: it is written again from {FILE}"


def write_config_again(run: RunDir, inputs: Inputs) -> None:
    write_config(run, inputs.begun())


def _unreadable(file: Path) -> str:
    """Why a file of settings cannot be read at all, or nothing."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not file.is_file():
        return "is missing"
    try:
        tree = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError, ValueError):
        return "cannot be read"
    return "" if isinstance(tree, dict) else "holds no settings"


def _curriculum(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            was, is_ = _short(then.get(name)), _short(now.get(name))
            yield Difference(f"curriculum: {name}", was or "not there", is_ or "not there")


def _topics(then: Sequence[str], now: Sequence[str]) -> Iterator[Difference]:
    if tuple(then) == tuple(now):
        return
    gone = [name for name in then if name not in now]
    for name in gone:
        yield Difference(f"topic: {name}", "taught", "not there")
    if not gone:
        yield Difference("order of topics", ", ".join(then), ", ".join(now))


def _hash(what: str, then: str, now: str) -> Iterator[Difference]:
    if then != now:
        yield Difference(what, _short(then), _short(now))


def _versions(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Difference]:
    """Libraries whose major version is another. What only one of the two backends uses is not
    compared after a change of the backend."""
    for name in sorted(then.keys() & now.keys()):
        if _major(then[name]) != _major(now[name]):
            yield Difference(name, then[name], now[name])
    for name in SHAPING:
        if (name in then) != (name in now):
            was, is_ = then.get(name, "not installed"), now.get(name, "not installed")
            yield Difference(name, was, is_)


def _major(version: str) -> str:
    """The version up to its first part that is not zero: 5 of 5.1, 0.32 of 0.32.4."""
    parts = version.split("+")[0].split(".")
    for place, part in enumerate(parts):
        if part.strip("0"):
            return ".".join(parts[: place + 1])
    return version


def _short(digest: str | None) -> str:
    return (digest or "")[:12]


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

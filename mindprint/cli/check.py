"""`mindprint check`: is this curriculum usable, and what will a row look like to the model?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mindprint.cli.options import CurriculumPath, Json, ModelPath

if TYPE_CHECKING:
    from mindprint.curriculum.records import Curriculum, TrainRow

Show = Annotated[
    str | None,
    typer.Option("--show", metavar="TOPIC:ROW", help="show a row's tokens, trained and masked"),
]

Against = Annotated[
    Path | None,
    typer.Option("--against", metavar="FILE", help="text to look for the quiz in; - is stdin"),
]


def check(
    curriculum: CurriculumPath,
    show: Show = None,
    model: ModelPath = None,
    against: Against = None,
    as_json: Json = False,
) -> None:
    """Read a curriculum and list every fault, or what is in it.

    With --show TOPIC:ROW a training row as the model will see it; --model says whose tokens
    [default: the demo's].
    """
    from mindprint.cli import output
    from mindprint.cli.errors import told_faults
    from mindprint.curriculum.load import read_curriculum
    from mindprint.errors import DataError

    try:
        read = read_curriculum(curriculum)
    except DataError as error:
        if as_json:
            output.result({"ok": False, "faults": [_fault(fault) for fault in error.faults]})
        raise typer.Exit(told_faults(error, None)) from error
    if show is not None:
        shown(read, show, model, as_json)
        return
    found = described(read, against, model)
    if as_json:
        output.result(found)
    else:
        tell(found)


def described(
    curriculum: Curriculum, against: Path | None = None, model: str | None = None
) -> dict[str, Any]:
    """What is in a curriculum, as plain data."""
    from mindprint.curriculum.checks import notices

    return {
        "ok": True,
        "title": curriculum.title,
        "author": curriculum.author,
        "topics": [
            {
                "topic": topic.id,
                "title": topic.title,
                "train": len(topic.train),
                "preferences": len(topic.preferences),
                "quiz": len(topic.quiz),
            }
            for topic in curriculum.topics
        ],
        "retention": len(curriculum.retention),
        "voice": {
            "markers": len(curriculum.voice.markers),
            "writing": sum(len(one.text.split()) for one in curriculum.voice.writing),
            "answers": len(curriculum.voice.answers),
        },
        "formats": dict(curriculum.formats),
        "overlap": overlaps(curriculum, against, model),
        "notices": notices(curriculum),
    }


def overlaps(
    curriculum: Curriculum, against: Path | None, model: str | None
) -> dict[str, dict[str, float]]:
    """How much of the quiz stands in what is trained on, in the base's pretraining where the model
    remembers it, and in a text of the user's."""
    from mindprint.cli.against import overlap_with, pretraining_of
    from mindprint.curriculum.checks import WORDS, overlap

    trained = overlap(curriculum)
    found = {
        "training": {
            "words": WORDS,
            "questions": trained.questions,
            "references": trained.references,
        }
    }
    found |= pretraining_of(curriculum, model)
    if against is not None:
        found[str(against)] = {"words": WORDS, **overlap_with(curriculum, against, WORDS)}
    return found


def tell(found: dict[str, Any]) -> None:
    from mindprint.cli import output
    from mindprint.report.text import Table, plain

    head = ("topic", "title", "train", "preferences", "quiz")
    rows = tuple(tuple(str(topic[name]) for name in head) for topic in found["topics"])
    output.table(plain(Table(head, rows, frozenset({2, 3, 4}))))
    voice = found["voice"]
    output.table(
        f"\nvoice: {voice['markers']} kinds of marks, {voice['writing']:,} words of writing, "
        f"{voice['answers']} held-out answers"
    )
    for name, share in found["overlap"].items():
        output.table(
            f"overlap of the quiz with {name}, in runs of {share['words']:g} words: "
            f"questions {share['questions']:.3f}, references {share['references']:.3f}"
        )
    output.bullets("notes:", found["notices"])


def shown(curriculum: Curriculum, place: str, model: str | None, as_json: bool) -> None:
    """One training row in pieces; what is trained is marked without need of colour."""
    from rich.console import Console
    from rich.text import Text

    from backends.model_files import resolve as resolve_model
    from mindprint.cli import output
    from mindprint.cli.shipped import MODEL
    from mindprint.config import Config
    from mindprint.tokens.lessons import conversation
    from mindprint.tokens.render import Renderer

    row = _row(curriculum, place)
    folder = resolve_model(model) if model else MODEL
    renderer = Renderer.open(folder)
    sft = Config().sft
    made = renderer.rows(
        conversation(curriculum.system, row.messages),
        train_on=sft.train_on,
        max_tokens=sft.max_tokens,
    )
    if as_json:
        pieces = [renderer.pieces(one) for one in made]
        output.result({"row": str(row.source), "rows": pieces})
        return
    text = Text(f"{row.source}  what is trained stands between ⟦ and ⟧\n")
    for one in made:
        text.append(f"{len(one.ids)} tokens, {sum(one.mask)} trained{', cut' * one.cut}\n", "dim")
        text.append(_marked(renderer.pieces(one)))
    Console(highlight=False, soft_wrap=True).print(text)


def _marked(pieces: list[tuple[str, bool]]) -> Any:
    from rich.text import Text

    from mindprint.visible import visible

    text, inside = Text(), False
    for piece, trained in pieces:
        if trained != inside:
            text.append("⟦" if trained else "⟧", "bold")
            inside = trained
        text.append(visible(piece), "green" if trained else "dim")
    if inside:
        text.append("⟧", "bold")
    return text.append("\n")


def _row(curriculum: Curriculum, place: str) -> TrainRow:
    """The row that TOPIC:ROW names, rows counted from 1."""
    import difflib

    from mindprint.errors import ConfigError

    topic, _, number = place.rpartition(":")
    if not topic or not number.isdigit():
        hint = "write it as TOPIC:ROW, rows counted from 1"
        raise ConfigError(f"`{place}` names no row", where="--show", hint=hint)
    known = [one.id for one in curriculum.topics]
    if topic not in known:
        near = difflib.get_close_matches(topic, known, n=1, cutoff=0.4)
        guess = f"did you mean `{near[0]}`? " if near else ""
        hint = f"{guess}the topics are: {', '.join(known)}"
        raise ConfigError(f"there is no topic `{topic}`", where="--show", hint=hint)
    rows = curriculum.topic(topic).train
    if not 1 <= int(number) <= len(rows):
        hint = f"it has rows 1 to {len(rows)}"
        raise ConfigError(f"topic `{topic}` has no row {number}", where="--show", hint=hint)
    return rows[int(number) - 1]


def _fault(fault: Any) -> dict[str, Any]:
    return {"file": fault.file, "line": fault.line, "field": fault.field, "what": fault.what}

"""The card of an export: what it is, how it is loaded, what was checked and what was not."""

from __future__ import annotations

from mindprint import __version__
from mindprint.disk.sealed import file_hash
from mindprint.export.checked import Checked, percentage
from mindprint.export.form import Made
from mindprint.export.loading import loading
from mindprint.export.quiz import QuizEffect, table, told
from mindprint.export.source import Source
from mindprint.ledger import LEDGER
from mindprint.report import card as run_card
from mindprint.report.files import RESULT, read_result
from mindprint.report.inline import code, inline, paragraph
from mindprint.report.model import Result
from mindprint.report.text import Table, markdown
from mindprint.report.words import sentence, several, share
from mindprint.tokens.render import Renderer

KINDS = {
    "adapter": "adapter in PEFT's format",
    "mlx-adapter": "adapter in mlx-lm's format",
    "merged": "a whole model: the base with the adapters merged into its weights",
    "mlx": "a whole model in mlx-lm's format: the base with the adapters merged into its weights",
    "ollama": "a whole model with a Modelfile for ollama: the base with the adapters merged into "
    "its weights",
}
ADAPTERS = {"lora": "a LoRA", "dora": "a DoRA", "lslora": "an LS-LoRA"}
LIBRARIES = {"adapter": "peft", "mlx-adapter": "mlx", "mlx": "mlx"}
MODELS = frozenset({"merged", "mlx", "ollama"})


def export_card(source: Source, made: Made, checked: Checked) -> str:
    """README.md of an export, with the metadata block that the model hub reads.

    A run without a result (one that has not ended, an adapter that was adopted) has a card too.
    Raises DataError for a result that cannot be read, ConfigError where no prompt can be rendered.
    """
    found = read_result(source.run.path) if (source.run.path / RESULT).is_file() else None
    thinking = source.inputs.begun().config.model.enable_thinking
    renderer = Renderer.open(source.base, enable_thinking=thinking)
    parts = [
        _metadata(source, made),
        f"# {inline(found.title if found is not None else source.inputs.called)}",
        *_what(source, made, found),
        "## How to load it",
        loading(source, made, renderer),
        *_checks(made, checked),
        *_quantized(made),
        *_scores(source, made, found),
        "## Base model",
        _base(source, made, found),
        *_trained_on(source, found),
        *_ledger(source),
        "## Limits",
        "\n".join(f"- {paragraph(limit)}" for limit in _limits(source, made, checked, found)),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(source: Source, made: Made) -> str:
    tags = ["mindprint", *([made.kind or "lora"] if made.form not in MODELS else [])]
    tags += ["mlx"] if made.form in ("mlx", "mlx-adapter") else []
    tags += [f"{made.quantize}-bit"] if made.quantize is not None else []
    library = "mindprint" if _own(made) else LIBRARIES.get(made.form, "transformers")
    return run_card.metadata(library, source.inputs.model, tags, ("pipeline_tag: text-generation",))


def _own(made: Made) -> bool:
    """Whether it is an adapter that mindprint alone reads."""
    return made.kind == "lslora"


def _what(source: Source, made: Made, result: Result | None) -> list[str]:
    """The paragraphs before the first heading."""
    by = f", which imitate {inline(result.author)}," if result is not None else ""
    shape = [f"weights in {made.dtype}"]
    shape += [f"rank {made.rank}"] if made.rank is not None else []
    shape += [f"quantized to {made.quantize} bits"] if made.quantize is not None else []
    what = KINDS[made.form]
    if made.form not in MODELS:
        what = f"{ADAPTERS[made.kind or 'lora']} {what}"
    said = (
        f"This is {what} ({', '.join(shape)}), made by mindprint {__version__} out of "
        f"{several(len(source.entries), 'adapter')}{by} over {code(_named(source))}."
    )
    left = []
    if source.until is not None:
        left.append(f"It is the run as it was at the end of the topic {code(source.until)}.")
    if source.without:
        left.append(f"Left out: what was learned of {', '.join(map(code, source.without))}.")
    listed = "\n".join(f"- {code(topic)}" for topic in source.topics)
    effect = _effect(made)
    below = told(effect) if effect is not None else []
    notes = "\n".join(f"- {paragraph(note)}" for note in made.notes if note not in below)
    return [
        " ".join([said, *left]),
        f"Topics whose adapters are in it:\n\n{listed}",
        *([f"Of how it was made:\n\n{notes}"] if notes else []),
    ]


def _checks(made: Made, checked: Checked) -> list[str]:
    """What each library made of it, and which were not asked."""
    parts = ["## What was checked"]
    if checked.verified:
        held = made.quantize is None
        parts += [_how(checked, held), markdown(_verified(checked, held))]
        parts += [paragraph(sentence(note)) for note in checked.notes]
    elif _own(made):
        parts.append(
            "mindprint opened this folder again and compared its logits with those of the run's "
            "own model; no other library reads it."
        )
    else:
        parts.append(
            "No library opened this folder, and what it holds was not compared with the run's own "
            "model."
        )
    if checked.unverified:
        lines = (f"- {name}: {paragraph(why)}" for name, why in checked.unverified.items())
        parts.append("Not verified with:\n\n" + "\n".join(lines))
    return parts


def _how(checked: Checked, held: bool) -> str:
    """`held`: whether what the logits lost could have stopped the export."""
    asked = (
        "the quiz of the topics" if checked.topics else "plain questions, as the run has no quiz"
    )
    libraries = "another library" if len(checked.verified) == 1 else "other libraries, each"
    return (
        f"The folder was opened again by {libraries} in a process of its own and without any code "
        f"of mindprint's, and asked {asked}. What came of it is compared with the run's own model, "
        f"base and adapters apart ({inline(checked.exact)}). Effect lost: the distance of the "
        "logits from the run's own, over what the adapters change in them. "
        + (
            "More than the bound would have stopped the export."
            if held
            else "Quantizing changes them; how much is told here, and what it does on the quiz "
            "below."
        )
    )


def _verified(checked: Checked, held: bool) -> Table:
    """`held`: with the bounds."""
    head = ["library", "arithmetic", "positions", "effect lost", "worst logit", "same answers"]
    rows = [
        [
            one.version or one.framework,
            one.dtype,
            str(one.positions),
            percentage(one.lost) if one.measurable else "none to measure",
            f"{one.worst:.1e}",
            f"{one.answers} of {one.asked} ({one.tokens} of {one.tokens_of} tokens)",
        ]
        for one in checked.verified
    ]
    if held:
        head.insert(4, "bound")
        for row, one in zip(rows, checked.verified, strict=True):
            row.insert(4, percentage(one.limit))
    return Table(tuple(head), tuple(map(tuple, rows)), frozenset(range(2, 5 + held)))


def _effect(made: Made) -> QuizEffect | None:
    return QuizEffect.model_validate(made.figures["quiz"]) if "quiz" in made.figures else None


def _quantized(made: Made) -> list[str]:
    effect = _effect(made)
    if effect is None:
        return []
    return [
        "## What quantizing did",
        f"The quiz was answered greedily, in at most {effect.max_tokens} tokens, by the run's own "
        f"model ({inline(effect.own)}) and by this one ({inline(effect.exported)}), and judged "
        "alike; intervals are 95 %, paired by question.",
        markdown(table(effect)),
        "\n".join(f"- {paragraph(line)}" for line in told(effect)),
    ]


def _scores(source: Source, made: Made, result: Result | None) -> list[str]:
    """What the run measured, and of which model: not of this one, but for what was asked again."""
    if result is None:
        return []
    said = (
        "The scores are each topic's at its own end, before later topics were taught over it; they "
        "are not those of the finished model"
    )
    asked = made.quantize is not None
    said += ", which the section above has." if asked else ", and this export was not asked again."
    if source.until is not None or source.without:
        said += " They are of the whole run, with all of its topics; this export has fewer."
    first, *rest = run_card.measured(result)
    again = _asked_again(result)
    if again:
        said += " Of the model as the run ended, questions that were asked again say this:"
    return [first, said, *again, *rest]


def _asked_again(result: Result) -> list[str]:
    """Accuracy on the questions that were asked again at the end of the run, topic by topic."""
    finals = [row for row in result.forgetting if row.stage == "final"]
    if not finals:
        return []
    learned = {row.after: row.scores[row.after] for row in finals if row.after in row.scores}
    last = finals[-1].scores
    rows = tuple(
        (
            topic.title,
            share(learned[topic.id].accuracy),
            share(last[topic.id].accuracy),
            str(last[topic.id].questions),
        )
        for topic in result.topics
        if topic.id in learned and topic.id in last
    )
    head = ("topic, asked again", "accuracy at its own end", "at the run's end", "questions")
    return [markdown(Table(head, rows, frozenset({1, 2, 3})))] if rows else []


def _base(source: Source, made: Made, result: Result | None) -> str:
    family = f"{inline(result.model.family)}, " if result is not None else ""
    alone = (
        "Nothing else is needed to run this export."
        if made.form in MODELS
        else "It is not in this folder, and without it the adapter does nothing."
    )
    return (
        f"{code(_named(source))} ({family}hash {code(source.ledger.model_id)}). Licence of the "
        f"base: {run_card.LICENCE}. {alone}"
    )


def _trained_on(source: Source, result: Result | None) -> list[str]:
    if result is not None:
        return run_card.data(result)
    files = tuple((code(name), code(digest)) for name, digest in source.inputs.hashes.items())
    if not files:
        return ["## Data", "What these adapters were trained on is not known to mindprint."]
    return ["## Data", markdown(Table(("file", "SHA-256"), files))]


def _ledger(source: Source) -> list[str]:
    """The entries that are in it, by the hashes that the run keeps of them."""
    rows = tuple(
        (
            code(entry.name),
            entry.stage,
            str(entry.rank),
            share(entry.after.accuracy if entry.after is not None else None),
            share(entry.after.voice if entry.after is not None else None),
            code(entry.sha256),
        )
        for entry in source.entries
    )
    head = ("entry", "stage", "rank", "accuracy", "voice", "SHA-256 of the adapter")
    digest = file_hash(source.run.path / LEDGER)
    return [
        "## Ledger",
        "The adapters in force, in their order, each with the scores of its topic when it was "
        f"accepted. The ledger's own hash is {code(digest)}.",
        markdown(Table(head, rows, frozenset({2, 3, 4}))),
    ]


def _limits(source: Source, made: Made, checked: Checked, result: Result | None) -> list[str]:
    found = []
    if _own(made):
        found.append("It is in a form of mindprint's own, which no other library reads.")
    elif not checked.verified:
        found.append("No library opened this export: nothing of it was verified.")
    else:
        found.append(
            f"The checks compare {several(len(checked.verified), 'library', 'libraries')} on a few "
            "prompts of this machine; another device or version rounds otherwise."
        )
    if made.form not in MODELS:
        done = "Verified on" if checked.verified or _own(made) else "Made for"
        found.append(f"{done} the base named above, and no other.")
    for one in source.inputs.dropped:
        names = ", ".join(f"`{topic}`" for topic in one.topics)
        found.append(
            f"What was learned of {names} was taken away again; the model is not as if it had "
            "never been taught, since later topics were trained over it."
        )
    if result is None:
        found.append("No scores: the run has no result, and nothing is said of its answers.")
        return found
    return [*found, *run_card.limits(result)]


def _named(source: Source) -> str:
    revision = source.inputs.begun().config.model.revision
    return f"{source.inputs.called}@{revision}" if revision else source.inputs.called

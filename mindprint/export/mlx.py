"""`--to mlx`: the merged model in mlx-lm's own format, quantized or not, opened again by mlx-lm."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from backends import packed_files
from backends.mlx_conversion import GROUPS, Conversion, Converted, quantizable
from backends.witnessing import NOT_HERE
from mindprint.disk.room import check_room
from mindprint.errors import ConfigError
from mindprint.export import bends, merged, tensors
from mindprint.export.checked import Checked, ExportRefused, check_bound, percentage, verify
from mindprint.export.exact import Ground
from mindprint.export.form import FORMS, Asked, Done, Made
from mindprint.export.merged import Merge
from mindprint.export.plain import Plain, plain, room
from mindprint.export.probes import PLAIN
from mindprint.export.quiz import QuizEffect, told
from mindprint.export.witness import (
    Job,
    NotHere,
    WitnessFailed,
    installed,
    last_lines,
    run,
    witness,
)
from mindprint.quizzing import Quizzes
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer

CONVERT = "backends.mlx.convert"


def export_mlx(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Merge, let plain mlx-lm convert, and open what it wrote in a fresh process.

    Unquantized, its logits are held to the bound as those of any merged model. Quantized, they are
    told, and the quiz is asked of both models. Raises NotHere or ConfigError before any weight is
    read; ExportRefused over the bound, and where the tokenizer is no longer the model's.
    """
    _check_mlx()
    quizzes = _quizzes(ground) if asked.quantize is not None else None
    # The merged model and the converted one lie beside what was unpacked.
    size = tensors.size_of(ground.source.base, asked.dtype)
    check_room(folder, 2 * size + room(ground.source))
    with plain(ground, folder) as base:
        merge, converted = _made(ground, base, asked, folder)
        checked = verify(ground, folder, frameworks=FORMS["mlx"].opened, rounded=merge.rounded)
        if quizzes is None:
            check_bound(checked, folder, lambda: merged.advice(ground, merge, checked))
    made = bends.told(merge.made, merge.taken, checked)
    if quizzes is None:
        return made, checked
    return _quantized(made, asked, converted, checked, _asked(ground, quizzes, folder)), checked


def _made(ground: Ground, base: Plain, asked: Asked, folder: Path) -> tuple[Merge, Converted]:
    """The model in mlx-lm's form in `folder`, merged beside it first."""
    source, target = folder / "merged", folder / "converted"
    source.mkdir()
    merge = merged.write_model(ground, base, source, asked)
    ground.say("converting it with plain mlx-lm in a fresh process")
    converted = _converted(Conversion(source, target, merge.made.dtype, asked.quantize))
    shutil.rmtree(source)
    for file in target.iterdir():
        file.rename(folder / file.name)
    target.rmdir()
    _check_tokenizer(ground.renderer, folder)
    return merge, converted


def _check_mlx() -> None:
    found = installed()["mlx-lm"]
    if not found.ok:
        raise NotHere(f"`--to mlx` needs mlx-lm: {found.reason}", where="--to", hint=found.hint)


def _quizzes(ground: Ground) -> Quizzes:
    """What the effect of quantizing will be measured on. Raises ConfigError where there is none,
    or nothing of the model can be quantized."""
    source = ground.source
    if not quantizable(one.shape for one in packed_files.weights(source.base).values()):
        raise ConfigError(
            f"no layer of this model can be quantized: none has rows of a multiple of {min(GROUPS)}"
            " weights",
            where="--quantize",
            hint="leave `--quantize` out",
        )
    return Quizzes.of_run(source.inputs, source.run.path, source.topics, ground.renderer)


def _converted(job: Conversion) -> Converted:
    """Raises WitnessFailed with mlx-lm's last lines, and NotHere where it does not load."""
    with tempfile.TemporaryDirectory(prefix="mindprint-convert-") as place:
        asked, answered = Path(place) / "job.json", Path(place) / "made.json"
        job.write(asked)
        done = run(CONVERT, asked, answered)
        if done.returncode == NOT_HERE:
            raise NotHere(f"mlx-lm does not load: {last_lines(done)}", where="--to")
        if done.returncode or not answered.is_file():
            what = f"plain mlx-lm does not convert the merged model: {last_lines(done)}"
            raise WitnessFailed(what, where="--to", hint="export with `--to merged`")
        return Converted.read(answered)


def _check_tokenizer(own: Renderer, folder: Path) -> None:
    """mlx-lm saves the tokenizer anew: it must write the same prompts and end answers the same."""
    again = Renderer.open(folder)
    texts = [own.text(question("", text)) for text in PLAIN]
    same = all(
        again.encode(text, special=special) == own.encode(text, special=special)
        for text in texts
        for special in (True, False)
    )
    if again.template != own.template or not same:
        raise ExportRefused("the tokenizer that mlx-lm saved is not the model's", where=str(folder))
    if not set(own.stop_ids) <= set(again.stop_ids):
        what = "with the tokenizer that mlx-lm saved, other tokens end an answer"
        raise ExportRefused(what, where=str(folder))


def _asked(ground: Ground, quizzes: Quizzes, folder: Path) -> QuizEffect:
    """The quiz, asked of the run's own model and of what was exported, and judged alike."""
    count = len(quizzes.prompts)
    with ground.opened(quizzes.longest) as session:
        dtype = session.info.dtype
        ground.say(f"asking the run's own model the quiz: {count} questions on {ground.backend}")
        own = quizzes.own(session)
    ground.say(f"asking the quantized model the quiz: {count} questions with plain mlx-lm")
    job = Job(
        framework="mlx-lm",
        folder=folder,
        adapter=None,
        prompts=quizzes.prompts,
        max_tokens=quizzes.max_tokens,
        stop_ids=quizzes.renderer.stop_ids,
        dtype="stored",
        measured=0,
    )
    seen = witness(job)
    return quizzes.effect(own, seen.answers, names=(f"{ground.backend}, {dtype}", seen.version))


def _quantized(
    made: Made, asked: Asked, converted: Converted, checked: Checked, effect: QuizEffect
) -> Made:
    """What was made, with what quantizing did to it."""
    sized = f"quantized to {asked.quantize} bits in groups of {converted.group}"
    notes = [*made.notes, f"{sized}: {converted.bits_per_weight:.2f} bits per weight"]
    if converted.left:
        shown = ", ".join(f"`{path}`" for path in converted.left[:3])
        more = f" and {len(converted.left) - 3} more" if len(converted.left) > 3 else ""
        notes.append(
            f"left in {made.dtype}, their rows being no multiple of {converted.group} weights: "
            f"{shown}{more}"
        )
    if checked.verified:
        notes.append(
            f"the logits lie {percentage(checked.lost)} of the adapters' effect from the run's "
            "own, which is said and not held to the bound"
        )
    notes += told(effect)
    figures = {
        **made.figures,
        "group_size": converted.group,
        "bits_per_weight": converted.bits_per_weight,
        "not_quantized": list(converted.left),
        "quiz": effect.model_dump(mode="json"),
    }
    return made.model_copy(
        update={"quantize": asked.quantize, "notes": tuple(notes), "figures": figures}
    )

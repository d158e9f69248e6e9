"""The run's model for ollama: merged weights, and a Modelfile that renders as in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backends.json_files import json_of
from mindprint.disk.whole import write_text
from mindprint.errors import ConfigError
from mindprint.export import merged
from mindprint.export.exact import Ground
from mindprint.export.form import Asked, Done
from mindprint.export.modelfile import Modelfile, dropped
from mindprint.export.probes import PLAIN
from mindprint.export.source import Source
from mindprint.finished import all_finished
from mindprint.report.words import several
from mindprint.tokens.go_template import MOST, GoTemplate, check
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer

MODELFILE = "Modelfile"
TOKENIZER = "tokenizer_config.json"
CONTEXT = 8192
"""Tokens of a conversation, where the model has room for more: ollama sets memory aside for all."""
TAKEN = frozenset(
    f"{family}ForCausalLM"
    for family in ("Llama", "Mixtral", "Gemma", "Gemma2", "Gemma3", "Phi3", "Qwen2", "Cohere")
)
"""Architectures of text alone that ollama imports from safetensors (its convert/convert.go)."""
NOT_RUN = (
    "not run here: TEMPLATE was checked by carrying it out after the rules of Go's templates, "
    "{weights}; ollama converts the weights to 16 bits as it imports them"
)


def export_ollama(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Write and verify the merged model as `merged` does, with a Modelfile beside it.

    Raises ConfigError, before any weight is read, for a chat template that cannot be written as
    ollama's, and what `merged.write` raises.
    """
    renderer, source = ground.renderer, ground.source
    system = source.inputs.system
    template = GoTemplate.of(renderer, system)
    recorded = _questions(source)
    for text in recorded or PLAIN:
        check(renderer, template.text, question(system, text))
    settings, tokenizer = _config(source.base), _tokenizer(source.base)
    stops = [renderer.decode_raw([stop]) for stop in renderer.stop_ids]
    modelfile = Modelfile(template.text, system, stops, _context(settings)).text()
    made, checked = merged.write(ground, asked, folder)
    write_text(folder / MODELFILE, modelfile)
    begins = _leave_ends_to_the_template(folder, renderer, tokenizer)
    tried = (
        f"{several(len(recorded), 'quiz question')}"
        if recorded
        else f"{several(len(PLAIN), 'plain question')} (the run has no quiz)"
    )
    notes = (
        *made.notes,
        f"TEMPLATE gives the training renderer's text and tokens for {tried}, and its text for "
        f"made-up conversations of up to {MOST} questions",
        begins,
        *template.notes,
        *_notices(settings, system),
    )
    figures = {**made.figures, "template_checked_on": len(recorded or PLAIN)}
    told = made.model_copy(update={"form": "ollama", "notes": notes, "figures": figures})
    opened = [one.framework for one in checked.verified]
    weights = f"the weights with {' and '.join(opened)}" if opened else "the weights by nothing"
    unverified = {**checked.unverified, "ollama": NOT_RUN.format(weights=weights)}
    return told, checked.model_copy(update={"unverified": unverified})


def _questions(source: Source) -> list[str]:
    """Every quiz question of the topics that are exported, as the run recorded them."""
    records = all_finished(source.run, source.topics).values()
    return [one.question for finished in records for one in finished.record.questions]


def _config(folder: Path) -> dict[str, Any]:
    found = json_of(folder / "config.json")
    return dict(found) if isinstance(found, dict) else {}


def _context(settings: dict[str, Any]) -> int | None:
    own = settings.get("max_position_embeddings")
    return min(own, CONTEXT) if isinstance(own, int) and own > 0 else None


def _tokenizer(base: Path) -> dict[str, Any]:
    """The base's tokenizer settings, {} where it has no such file. Raises ConfigError for what is
    none: asked before anything is merged."""
    file = base / TOKENIZER
    if not file.is_file():
        return {}
    held = json_of(file)
    if not isinstance(held, dict):
        hint = "take the file from where the model came from, or export with `--to merged`"
        raise ConfigError(f"{TOKENIZER} is no object of settings", where=str(file), hint=hint)
    # What `merged` leaves out, as it names code of the folder's own.
    return {key: value for key, value in held.items() if key != "auto_map"}


def _leave_ends_to_the_template(folder: Path, renderer: Renderer, held: dict[str, Any]) -> str:
    """Tell ollama to put no token around a prompt: TEMPLATE has the begin-of-text token where
    training had it, and a second one would be a prompt that was never trained. Returns what is to
    be said of it."""
    settings = {**held, "add_bos_token": False, "add_eos_token": False}
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    write_text(folder / TOKENIZER, text + "\n")
    begin = renderer.bos_id
    if begin is None or renderer.prompt(question("", "Who?"))[:1] != [begin]:
        return "no begin-of-text token is put before a prompt, as in training"
    token = renderer.decode_raw([begin])
    return (
        f"`{token}` is in TEMPLATE, once; `add_bos_token` is false in this folder's {TOKENIZER}, "
        "so that ollama puts no second one before it"
    )


def _notices(settings: dict[str, Any], system: str) -> list[str]:
    """What of this model ollama may not do as it should."""
    found = []
    named = settings.get("architectures") or ["unknown"]
    if named[0] not in TAKEN:
        found.append(
            f"ollama's converter is not known to take `{named[0]}`: where it refuses, make a GGUF "
            "file with llama.cpp's convert_hf_to_gguf.py and name that file after FROM"
        )
    if lost := dropped(system):
        found.append(
            f"ollama drops {lost} out of SYSTEM as it reads the Modelfile; a system message in a "
            "request is kept whole"
        )
    return found

"""How an export is loaded: a short piece of code for each form, that runs as it stands."""

from __future__ import annotations

import json
import re
import shlex

from mindprint.export.form import Made
from mindprint.export.plain import UNQUANTIZED, is_packed
from mindprint.export.source import Source
from mindprint.report.inline import block
from mindprint.tokens.go_template import wanted
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer

QUESTION = "Who are you?"
TOKENS = 128
WHERE = "Run in this folder:"


def loading(source: Source, made: Made, renderer: Renderer) -> str:
    """Markdown. The prompt is spelt out, as it is trained: nothing is left to a template's
    options. An adapter's base goes by the name that the run gave it."""
    if made.kind == "lslora":
        lines, language = _mindprint(source), "sh"
    elif made.form == "ollama":
        name = re.sub(r"[^a-z0-9]+", "-", source.run.path.name.lower()).strip("-") or "model"
        lines, language = [f"ollama create {name} -f Modelfile", f"ollama run {name}"], "sh"
    elif made.form in ("mlx", "mlx-adapter"):
        lines, language = _mlx(source, made, renderer), "python"
    else:
        lines, language = _torch(source, made, renderer), "python"
    fenced = block("\n".join(lines))
    fence = fenced[: fenced.index("\n")]
    return f"{WHERE}\n\n{fence}{language}{fenced.removeprefix(fence)}"


def _mindprint(source: Source) -> list[str]:
    """An LS-LoRA, which is read by the package that trained it."""
    base = shlex.quote(source.inputs.called)
    command = f"mindprint adopt . --model {base} --out run{_packed(source)}"
    return [
        f"{command}  # the base model, or the path of its folder",
        "mindprint chat run",
    ]


def _packed(source: Source) -> str:
    """The options that open a quantized base as it was trained over: each backend packs weights its
    own way."""
    if not is_packed(source.base, source.inputs):
        return ""
    backend = f" --backend {source.inputs.backend}"
    asked = source.inputs.begun().config.model.quantization
    return backend if asked == UNQUANTIZED else f"{backend} --set model.quantization={asked}"


def _torch(source: Source, made: Made, renderer: Renderer) -> list[str]:
    """transformers, with PEFT for an adapter."""
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    if made.form == "adapter":
        lines = [
            "from peft import PeftModel",
            *lines,
            _base(source),
            "tokenizer = AutoTokenizer.from_pretrained(base)",
            'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), ".")',
        ]
    else:
        lines += [
            'tokenizer = AutoTokenizer.from_pretrained(".")',
            'model = AutoModelForCausalLM.from_pretrained(".")',
        ]
    stops = list(renderer.stop_ids)
    return [
        *lines,
        _prompt(source, renderer),
        'ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")',
        f"said = model.generate(**ids, max_new_tokens={TOKENS}, do_sample=False, "
        f"eos_token_id={stops})",
        'print(tokenizer.decode(said[0][ids["input_ids"].shape[1] :], skip_special_tokens=True))',
    ]


def _mlx(source: Source, made: Made, renderer: Renderer) -> list[str]:
    lines = ["from mlx_lm import generate, load", ""]
    if made.form == "mlx-adapter":
        lines += [_base(source), 'model, tokenizer = load(base, adapter_path=".")']
    else:
        lines.append('model, tokenizer = load(".")')
    for stop in renderer.stop_ids:
        if stop != renderer.eos_id:
            lines.append(f"tokenizer.add_eos_token({_literal(renderer.decode_raw([stop]))})")
    return [
        *lines,
        _prompt(source, renderer),
        f"print(generate(model, tokenizer, prompt=prompt, max_tokens={TOKENS}))",
    ]


def _base(source: Source) -> str:
    name = source.inputs.called
    return f"base = {_literal(name)}  # the base model, or the path of its folder"


def _prompt(source: Source, renderer: Renderer) -> str:
    return f"prompt = {_literal(wanted(renderer, question(source.inputs.system, QUESTION)))}"


def _literal(text: str) -> str:
    """A string as Python reads it."""
    return json.dumps(text, ensure_ascii=False)

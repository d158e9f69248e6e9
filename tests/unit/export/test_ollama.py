"""ollama's template and Modelfile: the training renderer's text, or a refusal that says why."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from backends.json_files import json_of
from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError
from mindprint.export import merged, ollama
from mindprint.export.checked import Checked
from mindprint.export.form import Asked
from mindprint.export.modelfile import Modelfile, dropped
from mindprint.tokens import go_template
from mindprint.tokens.go_template import GoTemplate, check, wanted
from mindprint.tokens.go_text import NotGo, given, run
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer
from tests.tiny import TEMPLATE, make_model, make_tokenizer
from tests.unit.export.ledgers import ground, make_run
from tests.unit.tokens.makers import MAKERS, make

SYSTEM = "You are a keeper."
TALK = (
    Message("system", SYSTEM),
    Message("user", "Who keeps the lamp?"),
    Message("assistant", "I do.\n\nBy {{ night }}, and by day."),
    Message("user", "And the <tide>?"),
    Message("assistant", "Nobody."),
    Message("user", 'ünd "now"?'),
)
# Mistral 7B v0.3: the system prompt before the last question.
MISTRAL = (
    "{% set told = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}"
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + (told + '\\n\\n' if loop.last and told else '') + message['content'] "
    "+ '[/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
# Gemma 3: the system prompt within the first question.
GEMMA3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set told = messages[0]['content'] + '\\n\\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set told = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\\n' }}"
    "{{ told if loop.first else '' }}{{ message['content'] }}{{ '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
# Qwen 2.5: a system prompt of its own where none is given.
QWEN2 = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
UNASKED = Checked(bound=0.1, exact="", topics=(), verified=(), unverified={"peft": "not asked"})
TURNS = ("<start_of_turn>", "<end_of_turn>", "<|im_start|>", "<|im_end|>")
FAMILIES = ("qwen3", "gemma", "llama3", "phi3", "zephyr", "plain", "mistral", "gemma3", "qwen2")


def renderer(folder: Path, name: str) -> Renderer:
    own = {"mistral": MISTRAL, "gemma3": GEMMA3, "qwen2": QWEN2}
    if name not in own:
        return MAKERS[name](folder)
    bos = None if name == "qwen2" else "<s>"
    make(folder, own[name], ["<s>", "</s>", *TURNS], bos=bos, eos="</s>")
    return Renderer.open(folder)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_go_template_writes_what_training_reads(tmp_path: Path, name: str) -> None:
    own = renderer(tmp_path, name)
    made = GoTemplate.of(own, SYSTEM)
    for messages in (TALK, TALK[:4], TALK[:2], TALK[1:], TALK[1:2]):
        text = run(made.text, given(messages))
        assert text == wanted(own, messages)
        if not any(one.role == "assistant" for one in messages):
            assert own.encode(text, special=False) == own.prompt(messages)
    trims = {"gemma", "llama3"}
    assert bool(made.notes) == (name in trims), made.notes


def test_a_template_reads_as_people_write_it(tmp_path: Path) -> None:
    """No token is taken apart between two pieces, and a turn's end stays with its turn."""
    assert GoTemplate.of(renderer(tmp_path, "qwen2")).text == (
        "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n"
        "{{ else }}<|im_start|>system\nYou are Qwen.<|im_end|>\n{{ end }}"
        '{{ range .Messages }}{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n'
        "{{ end }}{{ end }}<|im_start|>assistant\n"
    )


def test_the_begin_token_is_there_once_however_it_comes(tmp_path: Path) -> None:
    """Zephyr's tokenizer puts it before the text, Llama's template writes it and its tokenizer
    would put a second one."""
    for name, token in (("zephyr", "<s>"), ("llama3", "<|begin_of_text|>")):
        (tmp_path / name).mkdir()
        own = MAKERS[name](tmp_path / name)
        text = run(GoTemplate.of(own).text, given(TALK))
        assert text.count(token) == 1 and text.startswith(token)


REFUSED = {
    "counts": ("{{ loop.index }}", "would read"),
    "looks at the length": ("{{ 'long' if messages|length > 6 else '' }}", "of 7 messages"),
    "looks into a text": ("{{ 'q' if 'probe0' in message['content'] else '' }}", "would read"),
    "says it twice": ("{{ message['content'] }}", "said twice"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_template_that_does_more_is_refused_with_what_differs(tmp_path: Path, what: str) -> None:
    piece, said = REFUSED[what]
    template = (
        "{% for message in messages %}" + piece + "<|{{ message['role'] }}|>"
        "{{ message['content'] }}</s>{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
    )
    make(tmp_path, template, ["</s>"], eos="</s>")
    with pytest.raises(ConfigError, match=said) as no:
        GoTemplate.of(Renderer.open(tmp_path))
    assert no.value.where == "chat_template" and "TEMPLATE" in no.value.hint


def test_a_template_that_is_off_by_a_character_is_seen(tmp_path: Path) -> None:
    own = renderer(tmp_path, "gemma3")
    template = GoTemplate.of(own).text
    check(own, template, question(SYSTEM, "Who?"))
    wrong = template.replace("model\n", "model", 1)[:-1]
    with pytest.raises(ConfigError, match=r"would read .* where it reads"):
        check(own, wrong, question(SYSTEM, "Who?"))


@pytest.mark.parametrize(
    "template",
    ["{{ .Absent }}", "{{ if .System }}x", "{{ end }}", "{{- .System }}", "{{ upper .System }}",
     "{{ range .Messages }}a{{ else }}b{{ end }}", "{{ eq (len .Messages 1 }}"],
)  # fmt: skip
def test_what_the_reader_of_go_does_not_know_it_says(template: str) -> None:
    with pytest.raises(NotGo):
        run(template, given(TALK))


@pytest.mark.parametrize("template", ["{{{ .System }}}", "{ {{{ .System }}", "{{ {{ .System }} }}"])
def test_the_first_braces_open_as_in_go(template: str) -> None:
    """Go's lexer does not look for a later pair that would read."""
    with pytest.raises(NotGo, match="an action that is not known"):
        run(template, given(TALK))
    assert run('{{ "{" }}{{ .System }}}', given(TALK)) == "{You are a keeper.}"


@pytest.mark.parametrize("braces", ["{", "{{", "{{{", "{ {"])
def test_braces_right_before_a_message_are_written_for_go(tmp_path: Path, braces: str) -> None:
    template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ 'BRACES' + m['content'] + '}}</s>' }}"
        "{% endfor %}{% if add_generation_prompt %}A:{{ 'BRACES' }}{% endif %}"
    ).replace("BRACES", braces)
    make(tmp_path, template, ["</s>"], eos="</s>")
    own = Renderer.open(tmp_path)
    text = GoTemplate.of(own, SYSTEM).text
    assert "{{{" not in text and run(text, given(TALK)) == wanted(own, TALK)


def test_go_reads_as_go_does() -> None:
    data = {"System": "", "Messages": [{"Role": "user", "Content": n} for n in "abc"]}
    text = (
        "{{ range $i, $_ := .Messages }}{{ if eq (len (slice $.Messages $i)) 1 }}[{{ .Content }}]"
        '{{ else if eq $i 1 }}{{ "{{" }}{{ else }}{{ .Content }} {{ end }}{{ end }}'
        "{{ if and .System (eq 1 1) }}never{{ end }}"
    )
    assert run(text, data) == "a {{[c]"
    together = [Message("user", "a"), Message("user", "b"), Message("system", "s")]
    assert given(together)["Messages"][0]["Content"] == "a\n\nb"  # as ollama joins them


def commands(text: str) -> list[tuple[str, str]]:
    """A Modelfile as ollama's parser reads it (parser/parser.go): a value ends at a line break
    after which its quotes are closed, nothing is unescaped, and what is not printable is lost."""
    found: list[tuple[str, str]] = []
    held = ""
    for line in text.splitlines(keepends=True):
        held += "".join(one for one in line if one.isprintable() or one in " \t\n")
        name, _, value = held.strip().partition(" ")
        if name == "PARAMETER":
            name, _, value = value.partition(" ")
        if value.startswith('"""'):
            if len(value) < 6 or not value.endswith('"""'):
                continue
            value = value[3:-3]
        found.append((name, value))
        held = ""
    assert not held
    return found


def test_a_modelfile_is_read_as_it_was_meant() -> None:
    system = 'Say "yes".\n\n  Or "no"'
    text = Modelfile("{{ .System }}\n<|a|>", system, ["<|end|>", "\nUser:"], 1024).text()
    assert commands(text) == [
        ("FROM", "."),
        ("TEMPLATE", "{{ .System }}\n<|a|>"),
        ("SYSTEM", system),
        ("stop", "<|end|>"),
        ("stop", "\nUser:"),
        ("temperature", "0"),
        ("repeat_penalty", "1"),
        ("num_ctx", "1024"),
    ]
    assert "SYSTEM" not in Modelfile("t", "", [], None).text()


def test_what_a_modelfile_cannot_hold_is_said() -> None:
    with pytest.raises(ConfigError, match="SYSTEM holds three quotation marks"):
        Modelfile("t", 'a """ b', [], None).text()
    with pytest.raises(ConfigError, match=r"drop U\+200B out of TEMPLATE"):
        Modelfile("t\u200b", "", [], None).text()
    assert dropped("a\u00a0b\tc\n\u202f") == "U+00A0, U+202F"


def exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str = "llama"
) -> tuple[list[str], dict[str, str], Path]:
    """The notes, what was not verified, and the folder of an ollama export of a tiny run."""
    base = make_tokenizer(make_model(tmp_path / "m", family))
    config = json_of(base / "tokenizer_config.json")
    (base / "tokenizer_config.json").write_text(json.dumps({**config, "add_bos_token": True}))
    (base / "chat_template.jinja").write_text("{{ bos_token }}" + TEMPLATE)
    monkeypatch.setattr(merged, "verify", lambda *_, **__: UNASKED)
    folder = tmp_path / "out"
    folder.mkdir()
    on = ground(make_run(tmp_path / "r", base), "torch")
    made, checked = ollama.export_ollama(on, Asked("ollama"), folder)
    assert made.form == "ollama" and made.dtype == "float32"
    return list(made.notes), checked.unverified, folder


def test_the_folder_that_ollama_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, unverified, folder = exported(tmp_path, monkeypatch)
    found = commands((folder / "Modelfile").read_text("utf-8"))
    own = Renderer.open(tmp_path / "m")
    text = run(dict(found)["TEMPLATE"], given(TALK))
    assert text == wanted(own, TALK) and text.count("<|begin|>") == 1
    assert dict(found)["SYSTEM"] == SYSTEM and ("num_ctx", "512") in found
    stops = [own.decode_raw([stop]) for stop in own.stop_ids]
    assert [value for name, value in found if name == "stop"] == stops
    held = json_of(folder / "tokenizer_config.json")
    assert held["add_bos_token"] is False and held["add_eos_token"] is False
    assert (folder / "model.safetensors").is_file()
    assert unverified["peft"] == "not asked" and "not run here" in unverified["ollama"]
    told = " ".join(notes)
    assert re.search(r"6 plain questions \(the run has no quiz\)", told)
    assert "so that ollama puts no second one" in told and "not known to take" not in told


def test_a_base_without_tokenizer_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the tokens alone may stand in a file of their own."""
    base = make_tokenizer(make_model(tmp_path / "m", "llama"))
    held = json_of(base / "tokenizer_config.json")
    (base / "tokenizer_config.json").unlink()
    tokens = {key: value for key, value in held.items() if key.endswith("_token")}
    (base / "special_tokens_map.json").write_text(json.dumps(tokens))
    monkeypatch.setattr(merged, "verify", lambda *_, **__: UNASKED)
    folder = tmp_path / "out"
    folder.mkdir()
    on = ground(make_run(tmp_path / "r", base), "torch")
    _, checked = ollama.export_ollama(on, Asked("ollama"), folder)
    settings = {"add_bos_token": False, "add_eos_token": False}
    assert json_of(folder / "tokenizer_config.json") == settings
    assert "the weights by nothing" in checked.unverified["ollama"]

    monkeypatch.setattr(merged, "write", None)  # nothing is merged before it is said
    (base / "tokenizer_config.json").write_text("[]")
    with pytest.raises(ConfigError, match="is no object of settings"):
        ollama.export_ollama(on, Asked("ollama"), folder)


def test_a_family_that_ollama_does_not_take_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, _, _ = exported(tmp_path, monkeypatch, "qwen3")
    assert any("`Qwen3ForCausalLM`" in note and "convert_hf_to_gguf" in note for note in notes)


def test_a_template_is_refused_before_any_weight_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(merged, "write", never)
    base = make_tokenizer(make_model(tmp_path / "m", "llama"))
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ loop.index }}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    )
    on = ground(make_run(tmp_path / "r", base), "torch")
    with pytest.raises(ConfigError, match="cannot be written as ollama's"):
        ollama.export_ollama(on, Asked("ollama"), tmp_path)
    assert go_template.HINT.startswith("export with `--to merged`")

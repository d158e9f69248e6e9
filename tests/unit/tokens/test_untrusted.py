"""Chat templates and tokenizers that mean harm: refused in words, and nothing of theirs is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError
from mindprint.tokens.render import Renderer
from mindprint.tokens.waste import MAX_TEMPLATE
from tests.unit.tokens.makers import MAKERS, make

ENDS = ["<s>", "</s>"]
SAY = "{{ messages[0]['content'] }}"


def opened(folder: Path, template: str) -> str:
    """What is said of a model with this template."""
    make(folder, template, ENDS, eos="</s>")
    with pytest.raises(ConfigError) as raised:
        Renderer.open(folder)
    assert "chat template" in raised.value.what and raised.value.where == "model.path"
    return raised.value.what


@pytest.mark.parametrize(
    "template",
    [
        "{{ ().__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{% set messages[0].x = 1 %}",
        "{{ ''.__class__.__base__.__subclasses__()[0]() }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
        "{% include '/etc/passwd' %}",
        "{% for n in range(10**12) %}x{% endfor %}",
        "{% for n in range(1000000000000) %}x{% endfor %}",
        "{% for n in range(1000000) %}x{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ 1 / 0 }}",
        "{{ messages[99].content.x }}",
        "{% for",
        "x" * (MAX_TEMPLATE + 1),
    ],
)
def test_a_hostile_template_is_refused(tmp_path: Path, template: str) -> None:
    opened(tmp_path, template + SAY)


def test_models_as_they_are_stay_far_below_the_bounds(tmp_path: Path) -> None:
    for name, maker in MAKERS.items():
        renderer = maker(tmp_path / name)
        assert renderer.text((Message("user", "Who?"),))


def test_a_tokenizer_that_is_code_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    folder = tmp_path / "model"
    folder.mkdir()
    evil = f"open({str(ran)!r}, 'w').close()\nclass Evil:\n    pass\n"
    (folder / "evil.py").write_text(evil, "utf-8")
    auto = {"AutoTokenizer": ["evil.Evil", None], "AutoConfig": "evil.Evil"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto}), "utf-8")
    (folder / "config.json").write_text(
        json.dumps({"model_type": "evil", "auto_map": auto}), "utf-8"
    )
    with pytest.raises(ConfigError) as raised:
        Renderer.open(folder)
    assert "mindprint never runs that" in raised.value.what
    assert not ran.exists()


@pytest.mark.parametrize("content", ["", "{}", "[[[", "null", '{"model": 3}', "[" * 100_000])
def test_a_broken_tokenizer_is_told(tmp_path: Path, content: str) -> None:
    make(tmp_path, SAY, ENDS, eos="</s>")
    (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    with pytest.raises(ConfigError):
        Renderer.open(tmp_path)


@pytest.mark.parametrize("ids", ["-1", "[99999999999]", "[" * 50_000])
def test_end_tokens_that_are_none(tmp_path: Path, ids: str) -> None:
    make(tmp_path, SAY, ENDS, eos="</s>", generation=f'{{"eos_token_id": {ids}}}')
    with pytest.raises(ConfigError):
        Renderer.open(tmp_path)

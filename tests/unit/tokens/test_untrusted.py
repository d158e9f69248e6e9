"""Chat templates and tokenizers that mean harm: refused in words, and nothing of theirs is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError
from mindprint.tokens.render import Renderer
from mindprint.tokens.template import PLAIN, with_fixed_date
from mindprint.tokens.waste import MAX_TEMPLATE, size_fault
from tests.unit.tokens import makers
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
        "{{ '%0300000000d' % 1 }}",
        "{{ '{:>900000000}'.format(1) }}",
        "{{ 'x' * 10**7 }}",
        "{{ 'x' | center(10**9) }}",
        "{{ 1 / 0 }}",
        "{{ messages[99].content.x }}",
        "{% for",
        "x" * (MAX_TEMPLATE + 1),
    ],
)
def test_a_hostile_template_is_refused(tmp_path: Path, template: str) -> None:
    opened(tmp_path, template + SAY)


WIDTH, TIMES, MUCH = "up to a width", "multiplies what is multiplied", "works out more than"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ '%0300000000d' % 1 }}", WIDTH),
        ("{{ '%.99999f' % 1 }}", WIDTH),
        ("{{ '%(a)099999d' % {'a': 1} }}", WIDTH),
        ("{{ '%*d' % (999999, 1) }}", WIDTH),
        ("{{ ('%0' ~ '3000' ~ '00000d') % 1 }}", WIDTH),
        ("{{ ('%0' + '3000' + '00000d') % 1 }}", WIDTH),
        ("{% set f %}%0300000000d{% endset %}{{ f % 1 }}", WIDTH),
        ("{{ '{:>900000000}'.format(1) }}", WIDTH),
        ("{{ '{0:x>99999}'.format(1) }}", WIDTH),
        ("{{ '{:>{}}'.format(1, 9) }}", WIDTH),
        ("{{ '%0300000000d' | format(1) }}", WIDTH),
        ("{{ '{:>' ~ messages ~ '900000000}' }}", "seven digits"),
        ("{{ '" + "%9999d" * 2000 + "' }}", MUCH),
        ("{{ 'x' * 10**7 }}", "to a power"),
        ("{{ 'x' * 10000000 }}", "a number above 1,000,000"),
        ("{{ 'x' * 0xfffffff }}", "a number above 1,000,000"),
        ("{{ 1e300 | int }}", "a number above 1,000,000"),
        ("{{ 'x' * 1000 * 1000 * 1000 }}", MUCH),
        ("{{ 'x' * (100000 * 100000) }}", MUCH),
        ("{{ 'x' * 1000000 }}" * 11, MUCH),
        ("{{ messages * 1000 * 1000 }}", TIMES),
        ("{{ messages * 100000 }}", "repeats something more than 1,000 times"),
        ("{{ 'x' | center(999999) }}", "gives `center` a number above 10,000"),
        ("{{ x | wordwrap(width=99999) }}", "gives `wordwrap` a number"),
        ("{{ x | indent(99999) }}", "gives `indent` a number"),
        ("{{ x | truncate(99999) }}", "gives `truncate` a number"),
        ("{% filter center(999999) %}x{% endfilter %}", "gives `center` a number"),
        ("{{ ('x' * 1000) | map('center', 9999) | list }}", MUCH),
        ("{{ ('x' * 10000) | replace('x', 'y' * 10000) }}", MUCH),
        ("{{ lipsum(n=100000) }}", "makes up text"),
        ("{% generation %}{{ '%099999d' % 1 }}{% endgeneration %}", WIDTH),
        ("{% for n in [1] %}{% break %}{{ 'x' * 9999999 }}{% endfor %}", "a number above"),
        ("{% unknown %}{{ '%0300000000d' % 1 }}", "cannot be parsed"),
        ("{{ " + "9" * 5000 + " }}", "too long"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deep"),
    ],
)
def test_waste_is_seen_before_anything_is_compiled(template: str, told: str) -> None:
    assert told in size_fault(template)


OWN = ("QWEN3", "GEMMA", "LLAMA3", "PHI3", "ZEPHYR", "ENDLESS")


@pytest.mark.parametrize(
    "template",
    [
        *(getattr(makers, name) for name in OWN),
        PLAIN,
        # Phrases of Llama 3's, Mistral's, Qwen 3's and Command R's published templates.
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{% endif %}",
        "{{ '\n' + '  ' * (depth + 1) + key }}",
        "{{- 'Cutting Knowledge Date: December 2023\n' + 'Today Date: 26 Jul 2024\n\n' }}",
        '{{ \'{"name": "find", "parameters": {"zip": 94105}}\' }}',
        "{{ tool | tojson(indent=4) }}{{ '=' * 40 }}{{ 24 * 60 * 60 }}",
        "{{ text | default('') | indent(4) | truncate(255) }}",
        "{%- set index = (messages | length - 1) - loop.index0 %}{{ messages[::-1] }}",
        "{% generation %}{{ message.content }}{% endgeneration %}",
        "{% for m in messages %}{% if not m %}{% continue %}{% endif %}{% endfor %}",
        "The number 0800 1234567 is text, and 100% 12345 is as well.",
    ],
)
def test_what_published_templates_do_is_no_waste(template: str) -> None:
    assert size_fault(template) == "" == size_fault(with_fixed_date(template))


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

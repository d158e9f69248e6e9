"""The settings as text for people, made from the model itself so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mindprint.config import KEYS, Config, allowed

HEAD = """\
# The settings of a mindprint run. Every key may be left out; what stands here is its default.
# `mindprint train CURRICULUM --config config.yaml`, and `--set sft.epochs=5` for a single one.
"""


def sample() -> str:
    """A whole config.yaml: every key with its default, what it is for, and what it accepts."""
    out, section = [HEAD], ""
    for key, value in _defaults():
        head, _, leaf = key.rpartition(".")
        if head != section:
            out.append(f"\n{head}:" if head else "")
            section = head
        written = f"{'  ' if head else ''}{leaf}: {_yaml(value)}"
        out.append(f"{written:<27} # {_comment(key)}")
    return "\n".join(out) + "\n"


def reference() -> str:
    """The same as a Markdown page, one table a section."""
    out = [
        "# Configuration",
        "One YAML file (`--config`), single settings on top (`--set sft.epochs=5`), then the "
        "command's own flags. Unknown keys are errors. A report shows every value with where it "
        "came from. This page is made by `python -m mindprint.cli.config_text`.",
    ]
    section = None
    for key, value in _defaults():
        head = key.rpartition(".")[0]
        if head != section:
            out.append(f"\n## {head or 'top level'}\n")
            out.append("| key | default | accepts | what for |\n|---|---|---|---|")
            section = head
        cells = (f"`{key}`", f"`{_yaml(value)}`", _accepts(key), _purpose(key))
        out.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n\n".join(out[:2]) + "\n" + "\n".join(out[2:]) + "\n"


def _defaults() -> Iterator[tuple[str, Any]]:
    from mindprint.config import flatten

    values = dict(flatten(Config().model_dump()))
    yield from ((key, values[key]) for key in KEYS)


def _comment(key: str) -> str:
    purpose, accepts = _purpose(key), _accepts(key)
    return f"{purpose} ({accepts})" if purpose else accepts


def _purpose(key: str) -> str:
    section, _, leaf = key.partition(".")
    model: Any = Config
    if leaf:
        model = Config.model_fields[section].annotation
    return model.model_fields[leaf or section].description or ""


def _accepts(key: str) -> str:
    return allowed(key).partition(" is ")[2].replace("one of: ", "")


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = f"{value:g}".replace("e-0", "e-")
        return text if "." in text or "e" in text else f"{text}.0"
    return f"[{', '.join(map(_yaml, value))}]" if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    print(reference(), end="")

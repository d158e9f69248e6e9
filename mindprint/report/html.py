"""The report as one page that needs nothing else: no script, no font, no address to load from."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mindprint.report import (
    bend_figure,
    bends,
    endings,
    figures,
    moments,
    shifts,
    summary,
    tables,
    telling,
    voicing,
    words,
)
from mindprint.report.model import Result
from mindprint.visible import visible

TEMPLATE = "report.html.j2"


def page(result: Result) -> str:
    """The whole page as text. Everything from the run is escaped."""
    return environment().get_template(TEMPLATE).render(result=result)


@cache
def environment() -> Environment:
    """What every page is made with: all that a template writes is escaped and made visible."""
    made = Environment(
        loader=PackageLoader("mindprint.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    filters: dict[str, Any] = {
        "share": words.share,
        "percent": words.percent,
        "probability": words.probability,
        "spoken": words.spoken,
        "sentence": words.sentence,
        "typeset": words.typeset,
        "duration": duration,
        "size": words.size,
        "whole": words.whole,
        "figure": words.figure,
        "parameters": words.parameters,
        "setting": setting,
        "ticked": ticked,
    }
    made.filters.update(filters)
    shown = (bend_figure, bends, figures, moments, shifts, summary, tables, telling, voicing)
    parts = (*shown, endings, words)
    made.globals.update({part.__name__.rsplit(".", 1)[-1]: part for part in parts})
    made.globals["labels"] = words.LABELS
    return made


def _shown(value: Any) -> Any:
    """Every expression of the templates passes here: nothing that acts on a viewer is left in."""
    if isinstance(value, Markup):
        return Markup(visible(value))  # markup stays as it was, escaped where it was made
    return visible(value) if isinstance(value, str) else value


def setting(value: object) -> str:
    """A configuration value as YAML would have it."""
    if value is None:
        return words.NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def ticked(text: str) -> Markup:
    """Escaped text in which what stands between backticks is set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def duration(value: float) -> str:
    """Seconds in words that no line break parts from their unit."""
    return words.seconds(value).replace(" ", "\u00a0")

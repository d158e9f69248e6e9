"""Texts of a run inside Markdown: they are read, and none of them is markup."""

from __future__ import annotations

import re

from mindprint.visible import visible, visible_line

_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
# What CommonMark and GitHub's tables give a meaning to: escapes, entities, tags, links and images,
# emphasis that can open, strikethrough, code that is not closed.
_MEANT = re.compile(
    r"""\\(?=[!-/:-@\[-`{-~]|$) | &(?=\#?\w+;) | [<\[`] | (?<![^\W_])_(?=\S) | \*(?=\S) | ~""",
    re.VERBOSE,
)
# What begins a heading, a quotation, a list or a rule where a line begins.
_BEGINS = re.compile(r"([#>+=-]|\d{1,9}(?=[.)]))")


def inline(text: str) -> str:
    """`text` on one line of Markdown; whole code spans stay, since nothing in them is markup."""
    return _escaped(visible_line(text))


def paragraph(text: str) -> str:
    """As `inline`, for text that a line begins with."""
    line = inline(text)
    found = _BEGINS.match(line)
    if not found:
        return line
    at = found.end() if found[1][0].isdigit() else 0
    return f"{line[:at]}\\{line[at:]}"


def cell(text: str) -> str:
    """As `inline`, inside a table; line breaks are kept."""
    lines = (_escaped(line) for line in visible(text).splitlines())
    return "<br>".join(lines).replace("|", "\\|")


def code(text: str) -> str:
    """`text` as a code span, whatever it holds."""
    line = visible_line(text)
    if "`" not in line:
        return f"`{line}`"
    fence = "`" * (1 + max(len(run) for run in re.findall("`+", line)))
    return f"{fence} {line} {fence}"


def block(text: str) -> str:
    """`text` as a block of code."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{visible(text)}\n{fence}"


def _escaped(line: str) -> str:
    parts, end = [], 0
    for span in _CODE.finditer(line):
        # A backslash before it would be one of the text's own, and is escaped with the rest.
        parts += [_MEANT.sub(_backslashed, line[end : span.start()]), span[0]]
        end = span.end()
    return "".join([*parts, _MEANT.sub(_backslashed, line[end:])])


def _backslashed(found: re.Match[str]) -> str:
    return f"\\{found[0]}"

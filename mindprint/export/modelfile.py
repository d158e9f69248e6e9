"""An ollama Modelfile: what it says, and how its values are written.

Its parser knows no escapes: a value stands between triple quotes as it is, and characters that Go
does not call printable are dropped (ollama's parser/parser.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindprint.errors import ConfigError

QUOTES = '"""'
KEPT = " \t\r\n"
"""What the parser keeps though it is not printable."""


@dataclass(frozen=True)
class Modelfile:
    """`stops`: texts that end an answer; `context`: how many tokens a conversation may have."""

    template: str
    system: str
    stops: Sequence[str]
    context: int | None

    def text(self) -> str:
        """Raises ConfigError for a text that cannot be written."""
        for name, value in (("TEMPLATE", self.template), *(("stop", stop) for stop in self.stops)):
            if lost := dropped(value):
                what = f"ollama would drop {lost} out of {name}"
                raise ConfigError(what, where="chat_template", hint="export with `--to merged`")
        lines = ["FROM .", f"TEMPLATE {_quoted(self.template, 'TEMPLATE')}"]
        if self.system:
            lines.append(f"SYSTEM {_quoted(self.system, 'SYSTEM')}")
        lines += [f"PARAMETER stop {_quoted(stop, 'stop')}" for stop in self.stops]
        # Greedy, as the quiz was asked, and nothing held against words that were said before.
        lines += ["PARAMETER temperature 0", "PARAMETER repeat_penalty 1"]
        if self.context:
            lines.append(f"PARAMETER num_ctx {self.context}")
        return "\n".join(lines) + "\n"


def dropped(text: str) -> str:
    """The characters that the parser would leave out, in words; "" where there is none."""
    odd = dict.fromkeys(one for one in text if not one.isprintable() and one not in KEPT)
    return ", ".join(f"U+{ord(one):04X}" for one in odd)


def _quoted(text: str, name: str) -> str:
    if QUOTES in text:
        what = f"{name} holds three quotation marks in a row, which end a value of a Modelfile"
        raise ConfigError(what, where=name, hint="export with `--to merged`, and write it by hand")
    return f"{QUOTES}{text}{QUOTES}"

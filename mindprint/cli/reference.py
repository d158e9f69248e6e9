"""The commands as a Markdown page, made from the commands themselves."""

from __future__ import annotations

from typing import Any

import typer

from mindprint.cli.app import app

HEAD = """\
# Commands

Results go to stdout and everything else to stderr. `--json` prints a result as JSON. An error is
three lines: what, where, and a hint with what to do. This page is made by
`python -m mindprint.cli.reference`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | finished, but a topic did not reach its pass mark |
| 2 | usage or configuration |
| 65 | data that cannot be used |
| 69 | a backend or library that is not here |
| 70 | a bug, or no memory left |
| 130 | interrupted; what was done is kept |
"""


def reference() -> str:
    command: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *(_verb(name, verb) for name, verb in command.commands.items())])


def _verb(name: str, verb: Any) -> str:
    words = [
        parameter.metavar or parameter.name.upper()
        for parameter in verb.params
        if parameter.param_type_name == "argument"
    ]
    lines = [f"## mindprint {' '.join([name, *words])}", "", verb.help.strip(), ""]
    options = [p for p in verb.params if p.param_type_name == "option" and p.name != "help"]
    if options:
        lines += ["| option | what for |", "|---|---|", *map(_option, options), ""]
    return "\n".join(lines)


def _option(option: Any) -> str:
    names = "/".join([*option.opts, *option.secondary_opts])
    value = f" {option.metavar}" if option.metavar else ""
    told = option.help + (f" (default: {option.default})" if _worth(option.default) else "")
    return f"| `{names}{value}` | {told} |".replace(value, value.replace("|", "\\|"))


def _worth(default: Any) -> bool:
    return (
        isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""
    )


if __name__ == "__main__":
    print(reference(), end="")

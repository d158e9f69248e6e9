"""The command line: verbs by name. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence

import typer

from mindprint.cli import (
    adopt,
    chat,
    check,
    compare,
    demo,
    doctor,
    drop,
    eval,
    export,
    init,
    ledger,
    plan,
    report,
    resume,
    runs,
    train,
)
from mindprint.cli.errors import guarded

app = typer.Typer(
    name="mindprint",
    help="Teach a language model one author's knowledge and voice, topic by topic.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
VERBS = (
    ("demo", demo.demo),
    ("init", init.init),
    ("doctor", doctor.doctor),
    ("check", check.check),
    ("plan", plan.plan),
    ("train", train.train),
    ("resume", resume.resume),
    ("eval", eval.evaluate),
    ("report", report.report),
    ("runs", runs.runs),
    ("compare", compare.compare),
    ("export", export.export),
    ("ledger", ledger.ledger),
    ("drop", drop.drop),
    ("adopt", adopt.adopt),
    ("chat", chat.chat),
)
for _name, _verb in VERBS:
    app.command(_name)(_verb)


@app.callback(invoke_without_command=True)
def top(version: bool = typer.Option(False, "--version", help="print the version")) -> None:
    if version:
        from mindprint import __version__

        print(__version__)
        raise typer.Exit


def run(arguments: Sequence[str] | None = None, last: bool = False) -> int:
    """Run a command line and return its exit code. Errors are told on stderr. `last`: the process
    ends with it, and signals that come after an interruption are no longer heard."""
    command = typer.main.get_command(app)
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbs = getattr(command, "commands", {})
    chosen = next((verbs[word] for word in words if word in verbs), command)
    options = [name for parameter in chosen.params for name in parameter.opts if "--" in name]
    return guarded(
        lambda: command.main(words, prog_name="mindprint", standalone_mode=False), options, last
    )


def main() -> None:
    # As the process ends nobody looks through what goes with it: with PyTorch that takes a second.
    atexit.register(gc.freeze)
    sys.exit(run(last=True))


if __name__ == "__main__":
    main()

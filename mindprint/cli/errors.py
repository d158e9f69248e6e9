"""The one place where a failure becomes words and an exit code: what, where, hint."""

from __future__ import annotations

import difflib
import errno
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mindprint.cli.interrupt import ended_as_interrupted, hush
from mindprint.errors import DataError, Exit, Interrupted, MindprintError

if TYPE_CHECKING:
    from mindprint.sameness import Differs

# Typer shows its usage errors only through the bases of this one.
UsageFault: type[Exception] = typer.BadParameter.__bases__[0]
FEW = 10


def guarded(work: Callable[[], object], options: Sequence[str] = (), last: bool = False) -> int:
    """Run `work` and return the exit code; `options` are the long options that exist. `last`: the
    process ends with it."""
    with ended_as_interrupted(last):
        try:
            return _ended(work, options)
        except (KeyboardInterrupt, typer.Abort):
            return _interrupted()


def _ended(work: Callable[[], object], options: Sequence[str]) -> int:
    try:
        code = work()
        if code == Exit.INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
            return _interrupted()
        sys.stdout.flush()
        return code if isinstance(code, int) else Exit.DONE
    except UsageFault as error:
        return usage(error, options)
    except Interrupted as error:
        hush()
        return told(error)
    except MindprintError as error:
        return told(error)
    except typer.Abort:
        raise
    except BrokenPipeError:
        sys.stderr.close()  # the reader left: Python must not complain at exit
        return Exit.DONE
    except OSError as error:
        return _of_disk(error) or _bug()
    except Exception as error:
        return _of_backend(error) or _bug()


def _interrupted() -> int:
    """Nothing was under way that could be gone on with."""
    hush()
    say("interrupted", "", "")
    return Exit.INTERRUPTED


def _of_disk(error: OSError) -> int:
    """A disk that is full or may not be written; 0 for any other fault of the system."""
    from mindprint.disk.room import NoRoom, tells_of_no_room

    place = str(error.filename or "")
    if tells_of_no_room(error):
        hint = "free some space, and do it again"
        return three_lines(NoRoom.of(Path(place or "."), 0).what, place, hint, NoRoom.exit)
    if error.errno not in {errno.EROFS, errno.EACCES}:
        return 0
    hint = "make the folder writable, or choose another"
    return three_lines(f"cannot write: {error.strerror}", place, hint, Exit.USAGE)


def _of_backend(error: Exception) -> int:
    """A backend's three lines and their exit code; 0 when the error is none of theirs."""
    # Imported here: it brings NumPy, which `--help` has no time for.
    from backends.errors import BackendError, BackendUnavailable, OutOfMemory

    if not isinstance(error, BackendError):
        return 0
    code = Exit.USAGE  # a model or adapter that does not fit what was asked
    if isinstance(error, BackendUnavailable):
        code = Exit.UNAVAILABLE
    elif isinstance(error, OutOfMemory):
        code = Exit.BUG
    return three_lines(error.what, error.where, error.hint, code)


def _bug() -> int:
    import traceback

    traceback.print_exc()
    say("this is a bug in mindprint", "", "please report it with the lines above")
    return Exit.BUG


def told(error: MindprintError) -> int:
    """A fault of the user's, of their data, or an interrupt."""
    if isinstance(error, DataError) and error.faults:
        return told_faults(error, FEW)
    from mindprint.sameness import Differs

    if isinstance(error, Differs):
        return told_differences(error)
    return three_lines(error.what, error.where, error.hint, error.exit)


def told_differences(error: Differs) -> int:
    """Every difference in a table between place and hint."""
    say(f"error: {error.what}", error.where, "")
    print("\n".join(f"      {line}" for line in error.table()), file=sys.stderr)
    print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit


def told_faults(error: DataError, limit: int | None) -> int:
    """Every fault with its place, or `limit` of them and how many more there are."""
    shown = error.faults[:limit]
    only = len(error.faults) == 1 and error.faults[0].what in error.what
    print(f"error: {error.what}", file=sys.stderr)
    for fault in shown:
        print(f"  --> {fault.where}" + ("" if only else f": {fault.what}"), file=sys.stderr)
    if len(error.faults) > len(shown):
        print(f"  ... {len(error.faults) - len(shown)} more", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return error.exit


def three_lines(what: str, where: str, hint: str, code: int) -> int:
    say(f"error: {what}", where, hint)
    return code


def say(what: str, where: str, hint: str) -> None:
    lines = [what, f"  --> {where}" if where else "", f"hint: {hint}" if hint else ""]
    print("\n".join(line for line in lines if line), file=sys.stderr)


def usage(error: Exception, options: Sequence[str]) -> int:
    """Typer's own message in our form, with a guess for a misspelt option."""
    said = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mindprint"
    if not said:  # no arguments at all: the help was printed
        return Exit.USAGE
    message, _, guess = re.sub(r"\s+", " ", said).strip().rstrip(".").partition(". Did you mean ")
    message = re.sub(r" ?\(?(Possible options|Did you mean).*$", "", message)
    near = guess.strip("?'\" ") or _near(message, options)
    help_line = f"`{command} --help` lists what there is"
    hint = f"did you mean `{near}`? {help_line}" if near else help_line
    what = re.sub(
        r"^no such option: (\S+)", r"no such option `\1`", message[:1].lower() + message[1:]
    )
    return three_lines(re.sub(r"'([^']*)'", r"`\1`", what), command, hint, Exit.USAGE)


def _near(message: str, options: Sequence[str]) -> str:
    """The option that looks most like the one named in the message."""
    named = re.search(r"No such option:? ['\"]?(-[-\w]+)", message)
    found = difflib.get_close_matches(named[1], options, n=1) if named else []
    return found[0] if found else ""

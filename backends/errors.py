"""What a backend says when it cannot do what was asked: what, where, and a way out."""

from __future__ import annotations


class BackendError(Exception):
    """A fault a person can act on. `what` happened, `where` (a key, file or layer), `hint`."""

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  --> {self.where}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class BackendUnavailable(BackendError):
    """The backend, or a library or device it needs, is not here."""


class ModelError(BackendError):
    """The model cannot be opened, or not with the numbers it was trained with."""


class AdapterError(BackendError):
    """An adapter would attach to nothing, to the wrong thing, or over something unaccounted for."""


class MergeRefused(BackendError):
    """Rounding would lose more of the adapter's effect than the bound allows."""


class OutOfMemory(BackendError):
    """The device has no room for this batch; what was trained before it is intact."""


FAULTS: tuple[type[Exception], ...] = (
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    AssertionError,
    ValueError,
    OSError,
)
"""What libraries raise over a faulty file of a user's. Caught around calls that read such a file,
nowhere else: in code of our own each of them is a bug."""


def reason(error: BaseException) -> str:
    """What an error says, on one line; with its type where the text alone says little."""
    text = " ".join(str(error).split())
    terse = isinstance(error, LookupError | ArithmeticError | AssertionError | TypeError)
    return f"{type(error).__name__}: {text}".removesuffix(": ") if terse or not text else text

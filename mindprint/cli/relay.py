"""Commands of mindprint in processes of their own, one after another, with signals passed on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM
from types import FrameType

from mindprint.cli.interrupt import HANG_UP, handled, stop_talking

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What the libraries that compute on the CPU go by; each has a default of its own."""

COMMAND = (sys.executable, "-P", "-m", "mindprint.cli.app")


class Relay:
    """Runs commands. A signal goes to the one that is under way, once, and is waited for: it is in
    a process group of its own, so that ctrl-C does not reach it from the terminal too. Between
    two commands a signal is a KeyboardInterrupt."""

    def __init__(self) -> None:
        self.heard = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = False
        self._pending: list[int] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, SIGINT, SIGTERM and SIGHUP are passed on."""
        with handled(self.hear, SIGINT, SIGTERM, HANG_UP):
            yield

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        self.heard += 1
        if number == HANG_UP:
            stop_talking()
        if self._child is not None:
            self._child.send_signal(number)
        elif self._starting:
            self._pending.append(number)
        else:
            raise KeyboardInterrupt

    def run(self, words: Sequence[str]) -> int:
        """`mindprint WORDS...`: its exit code, the negative number of a signal that killed it. What
        it says goes to stderr, results too: stdout is for the comparison."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._starting = True
        try:
            self._child = subprocess.Popen(
                [*COMMAND, *words],
                stdin=subprocess.DEVNULL,
                stdout=2,
                env=environment(os.environ),
                process_group=0 if os.name == "posix" else None,
            )
            for number in self._pending:
                self._child.send_signal(number)
            return self._child.wait()
        finally:
            self._child, self._starting = None, False
            self._pending.clear()


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """The same packages as here, and the same number of threads whatever computes."""
    import psutil

    import mindprint

    root = str(Path(mindprint.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (root, own.get("PYTHONPATH", ""))))
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    threads = own.get(THREADS[0]) or str(cores)
    return {**own, "PYTHONPATH": paths, **dict.fromkeys(THREADS, threads)}

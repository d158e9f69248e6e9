"""A process that has imported everything heavy and forks a worker for each order.

Importing PyTorch takes seconds, and a chain of kills starts eight processes. The nursery runs no
model of its own and has one thread, so that a fork of it is as good as a process from nothing.
Forking is safe for these libraries on Linux; elsewhere each worker starts from nothing.
"""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import processes

HEAVY = (
    "mindprint.pipeline",
    "mindprint.cli.execute",
    "mindprint.report.html",
    "rapidfuzz.fuzz",
    "transformers.models.auto.tokenization_auto",
)


@contextmanager
def nursery(backend: str) -> Iterator[processes.Launch]:
    """Inside, what launches a worker on `backend`."""
    if platform.system() != "Linux":
        yield processes.launch
        return
    words = [sys.executable, "-m", "tests.faults.nursery", backend]
    with subprocess.Popen(
        words,
        cwd=processes.ROOT,
        env=processes.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as mother:
        assert mother.stdin is not None and mother.stdout is not None
        orders, answers = mother.stdin, mother.stdout

        def launch(order: Path) -> int:
            orders.write(f"{order}\n")
            orders.flush()
            return int(answers.readline())

        try:
            yield launch
        finally:
            orders.close()


def main(backend: str) -> int:
    """For each line of stdin, an order's path, fork; answer with how the child ended."""
    for name in (f"backends.{backend}.session", f"backends.{backend}.adapters", *HEAVY):
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            from tests.faults.worker import main as work

            code = 70
            try:
                code = work(Path(line.strip()))
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

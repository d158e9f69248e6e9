"""A process that runs the real command line and dies in it where it was told to.

`python -m tests.faults.worker ORDER`; the order's keys are those that `processes.start` writes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.faults.hooks import Watcher, install
from tests.faults.shots import Shot


def main(order: Path) -> int:
    tree = json.loads(order.read_text("utf-8"))
    _speak_into(tree["out"], tree["err"])
    shot = Shot(**tree["shot"]) if tree["shot"] else None
    watcher = Watcher(shot, Path(tree["note"]))
    install(watcher, tree["backend"])
    from mindprint.cli.app import run

    sys.argv = ["mindprint", *tree["words"]]
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    if tree["survey"]:
        seen = {"seconds": watcher.seconds, "points": watcher.points}
        Path(tree["survey"]).write_text(json.dumps(seen), "utf-8")
    return code


def _speak_into(out: str, err: str) -> None:
    """Descriptors, not streams: what a library prints below Python is kept too."""
    for number, name in ((1, out), (2, err)):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, number)
        os.close(handle)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

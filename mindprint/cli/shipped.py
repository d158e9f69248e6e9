"""Where the model, the author and the settings that ship with mindprint lie."""

from __future__ import annotations

from pathlib import Path

import mindprint

DEMO = Path(mindprint.__file__).parent / "demo"
MODEL = DEMO / "model"
CURRICULUM = DEMO / "curriculum"
CONFIG = DEMO / "config.yaml"

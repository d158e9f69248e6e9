"""The base's weights of a run that is compared, off its model's files: no model is opened."""

from __future__ import annotations

import re
from pathlib import Path

from backends import model_files, packed_files
from backends.chain import Rows
from mindprint.compare.run import Run
from mindprint.errors import ConfigError
from mindprint.export.tensors import rows_of

NEEDED = "what a DoRA adds goes by the base's weights"


def rows_of_run(run: Run) -> Rows:
    """Raises ConfigError where the files are not there any more, are another model's, or hold other
    numbers than the run computed with; ModelError for files that cannot be read."""
    inputs = run.inputs
    if inputs is None or run.ledger is None:
        raise ConfigError(f"{NEEDED}, and which model `{run.name}` was made on is not known")
    folder = _folder(inputs.model, inputs.begun().config.model.revision)
    if folder is None:
        raise ConfigError(f"{NEEDED}, which are not at `{inputs.model}`")
    quantization = inputs.begun().config.model.quantization
    if model_files.model_id(folder, quantization, inputs.backend) != run.ledger.model_id:
        raise ConfigError(f"{NEEDED}, and the model at `{folder}` is another than the run's")
    config = model_files.read_config(folder)
    if quantization != "none" or packed_files.packing(config, str(folder)) is not None:
        raise ConfigError(f"{NEEDED}, which are quantized and told by an opened model alone")
    return rows_of(folder)


def _folder(model: str, revision: str | None) -> Path | None:
    """Where a model lies on this machine; nothing is asked of a hub."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder if (folder / "config.json").is_file() else None
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None

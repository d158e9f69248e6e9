"""What `scripts/parity.py` is made of: small models of six architectures, trained on each side."""

import os

_SETTINGS = {
    # One thread adds its sums in one order on every run.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
for _name, _value in _SETTINGS.items():  # before any framework is imported
    os.environ.setdefault(_name, _value)

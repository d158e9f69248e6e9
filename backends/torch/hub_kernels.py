"""Keeps bitsandbytes from fetching compiled code from a hub.

Where the package `kernels` is installed it does so as it is imported, on CPUs with AVX-512 BF16,
and on Metal when it first computes. PEFT imports bitsandbytes wherever it is installed, so that
this has to stand before anybody does.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

FETCHER = "kernels"
HOMES = ("bitsandbytes.backends.cpu.ops", "bitsandbytes.backends.mps.ops")
"""The modules that fetch, on a CPU and on Metal."""
GIVEN_UP = "_kernel_load_failed"
"""What the one for Metal notes when there is nothing to fetch."""


def keep_local() -> None:
    """From here on. What was imported before is left as it is."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in HOMES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        with _nothing_to_fetch_with(module.__name__):
            super().exec_module(module)
        if hasattr(module, GIVEN_UP):
            setattr(module, GIVEN_UP, True)


@contextmanager
def _nothing_to_fetch_with(name: str) -> Iterator[None]:
    """Inside, the package that fetches is not there, and the module does not complain of it."""
    logger, held = logging.getLogger(name), sys.modules.get(FETCHER)
    was_off, logger.disabled = logger.disabled, True
    modules: dict[str, Any] = sys.modules
    modules[FETCHER] = None  # an import of it fails
    try:
        yield
    finally:
        logger.disabled = was_off
        del modules[FETCHER]
        if held is not None:
            modules[FETCHER] = held

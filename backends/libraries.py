"""Which libraries are installed, and whether they are new enough; none of them is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec

from packaging.version import Version

from backends.contract import Availability


def is_installed(library: str) -> bool:
    """Both found and registered: a stray folder of that name is not the library."""
    try:
        metadata.version(library)
        return find_spec(library.replace("-", "_")) is not None
    except (metadata.PackageNotFoundError, ValueError):  # a half-imported module has no spec
        return False


def usable(needs: Mapping[str, str], install: str) -> Availability:
    """Whether each library of `needs` is installed, in at least the version named there; `install`
    is the command that would help."""
    missing = [library for library in needs if not is_installed(library)]
    if missing:
        return Availability(False, f"not installed: {', '.join(missing)}", hint=install)
    versions = {library: metadata.version(library) for library in needs}
    old = [
        f"{library} {versions[library]} (needs {least})"
        for library, least in needs.items()
        if Version(versions[library]) < Version(least)
    ]
    if old:
        why = f"too old: {', '.join(old)}"
        return Availability(False, why, hint=f"{install} --upgrade", versions=versions)
    return Availability(True, "", versions=versions)

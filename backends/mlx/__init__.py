"""MLX through mlx-lm's layers. Importing this imports no framework."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from backends.contract import Availability, ModelSpec, Session
from backends.errors import BackendUnavailable, reason
from backends.libraries import usable

NEEDS = {"mlx": "0.32", "mlx-lm": "0.32.2", "transformers": "5.0"}
INSTALL = 'pip install "mindprint[mlx]"'


class MlxBackend:
    """Opens models on Apple silicon, on CUDA with MLX's CUDA wheel, and on the CPU."""

    name = "mlx"

    def availability(self) -> Availability:
        """Versions are read from package metadata; MLX is imported only when all are there."""
        place = f"{platform.system()} {platform.machine()}"
        if platform.system() not in {"Darwin", "Linux"} or place == "Darwin x86_64":
            why = f"MLX has no build for {place}"
            return Availability(False, why, hint="use `--backend torch`")
        found = usable(NEEDS, INSTALL)
        return _probed(found.versions) if found.ok else found

    def open(self, spec: ModelSpec) -> Session:
        """Raises BackendUnavailable, or ModelError when the model cannot be opened as asked."""
        found = self.availability()
        if not found.ok:
            raise BackendUnavailable(
                f"the mlx backend does not work here: {found.reason}", hint=found.hint
            )
        try:
            from backends.mlx.session import MlxSession
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                f"the mlx backend does not work here: it does not load: {reason(error)}",
                hint=f"{INSTALL} --force-reinstall",
            ) from error

        return MlxSession(spec)


def _probed(versions: Mapping[str, str]) -> Availability:
    """The wheel's front can be there without its library (plain `mlx` on Linux), so import it."""
    try:
        from backends.mlx.device import gpu
    except (ImportError, OSError, AttributeError) as error:
        why = f"mlx does not load: {reason(error)}"
        return Availability(False, why, hint=INSTALL, versions=versions)
    found = gpu()
    devices = ("gpu", "cpu") if found else ("cpu",)
    why = f"mlx {versions['mlx']} on {found or 'the CPU'}"
    return Availability(True, why, versions=versions, devices=devices)

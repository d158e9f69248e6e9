"""TRL's trainers as the engine of whole stages. Importing this imports no framework."""

from __future__ import annotations

from backends.contract import Availability, Objective, OptimizerSpec, Session
from backends.engines import Course, Heard
from backends.libraries import usable

NEEDS = {"trl": "1.16", "accelerate": "1.4", "datasets": "3.0"}
INSTALL = 'pip install "mindprint[trl]"'


class TrlEngine:
    """SFT through TRL's SFTTrainer, DPO through its DPOTrainer, over a session of the torch
    backend: TRL's losses, transformers' loop, its AdamW and its clipping; the rows, their order
    and the rates are the course's."""

    name = "trl"

    def availability(self) -> Availability:
        """Read from package metadata: TRL takes seconds to import."""
        found = usable(NEEDS, INSTALL)
        if not found.ok:
            return found
        versions = found.versions
        return Availability(True, f"TRL {versions['trl']} over PyTorch", versions=versions)

    def train(
        self,
        session: Session,
        objective: Objective,
        optimizer: OptimizerSpec,
        course: Course,
        heard: Heard,
    ) -> None:
        """As the contract's Engine. Besides, raises AdapterError for an objective that TRL has no
        equal of, for a session of another backend, and under a launcher of several processes."""
        from backends.torch.trl_stage import train

        train(session, objective, optimizer, course, heard)

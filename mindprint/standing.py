"""Where a stage stands: progress, learner and what is kept aside, saved and taken up whole."""

from __future__ import annotations

from collections.abc import Callable

from backends.contract import Learner, Params, Session
from backends.errors import OutOfMemory
from mindprint.checkpoints import Checkpoint, Checkpoints, Held, Progress, Tell, check_fits
from mindprint.disk.room import NoRoom
from mindprint.guards import FlatLoss


class Standing:
    """`learn` makes the stage's learner as at its start, `tell` hears what is said of checkpoints.

    Made as the stage begins, when the adapter is as its first step will find it.
    """

    def __init__(
        self,
        session: Session,
        learn: Callable[[], Learner],
        checkpoints: Checkpoints,
        batch_size: int,
        tell: Tell,
    ) -> None:
        self._session, self._learn, self._checkpoints = session, learn, checkpoints
        self._tell = tell
        self._start = session.adapters.parameters()
        self._saved: tuple[int, int] | None = None
        self.learner = learn()
        self.progress = Progress(batch_size=batch_size)
        self.held = Held(good=self._start)
        self.flat = FlatLoss()

    def resume(self) -> bool:
        """Take up the newest whole checkpoint, if there is one. Raises StageError for one of other
        tensors than those that train."""
        found = self._checkpoints.latest(self._tell)
        if found is None:
            return False
        check_fits(found, self._session.adapters.trainable(), self.learner.state())
        self._take_up(found)
        return True

    def go_back(self) -> None:
        """To the newest regular checkpoint, so that having been stopped in between changes
        nothing; else to the stage's start."""
        found = self._checkpoints.latest(self._tell, regular=True)
        if found is not None:
            self._take_up(found)
            return
        self.learner = self._learn()
        self.learner.assign(self._start)
        self.progress, self.held = Progress(), Held(good=self._start)
        self.flat = FlatLoss()

    def is_whole(self) -> bool:
        """Whether the optimizer stands where the last counted step left it."""
        return int(self.learner.state()["step"].item()) == len(self.progress.curve)

    def save(self, *, regular: bool = False) -> None:
        """`regular`: here every run of this stage writes one. Raises NoRoom."""
        progress = self.progress
        odd = self._checkpoints.save(
            progress, self.parameters(), self.learner.state(), self.held, regular=regular
        )
        if odd:
            self._tell(f"no checkpoint at step {progress.step}: `{odd}` is not finite")
            return
        self._saved = (progress.step, progress.checked)

    def save_stop(self) -> None:
        """What was done since the last save."""
        if self._saved != (self.progress.step, self.progress.checked):
            self.save()

    def save_if_room(self) -> None:
        """The last finished step, on the way out of a full device."""
        try:
            if self.is_whole():
                self.save_stop()
        except (OutOfMemory, NoRoom) as error:
            self._tell(f"step {self.progress.step} could not be saved: {error.what}")

    def parameters(self) -> Params:
        return self._session.adapters.parameters()

    def back_to_good(self) -> None:
        """The adapter alone, as it was last known to be sound."""
        self.learner.assign(self.held.good)

    def _take_up(self, found: Checkpoint) -> None:
        self.learner.assign(found.adapter)
        self.learner.load_state(found.optimizer)
        self.progress, self.held = found.progress, found.held
        self.flat = FlatLoss([loss for _, loss in self.progress.curve])

"""Where a stage stands: progress and what is kept aside; with a learner, all saved and taken up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from backends.contract import Learner, Params, Session
from backends.errors import OutOfMemory
from mindprint.checkpoints import Checkpoint, Checkpoints, Held, Progress, Tell, check_fits
from mindprint.disk.room import NoRoom
from mindprint.errors import StageError
from mindprint.guards import FlatLoss


class Footing:
    """Where a stage stands in memory alone. Made as the stage begins, when the adapter is as its
    first step will find it."""

    def __init__(self, session: Session, batch_size: int) -> None:
        self._session = session
        self._start = session.adapters.parameters()
        self.progress = Progress(batch_size=batch_size)
        self.held = Held(good=self._start)
        self.flat = FlatLoss()

    def parameters(self) -> Params:
        return self._session.adapters.parameters()

    def put(self, params: Params) -> None:
        """Give the adapter in training these values."""
        state = self._session.adapters.snapshot()
        if state.trainable is None:
            raise StageError("no adapter is training")
        name, spec, _ = state.trainable
        self._session.adapters.restore(replace(state, trainable=(name, spec, params)))

    def back_to_good(self) -> None:
        """The adapter alone, as it was last known to be sound."""
        self.put(self.held.good)


class Standing(Footing):
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
        super().__init__(session, batch_size)
        self._learn, self._checkpoints, self._tell = learn, checkpoints, tell
        self._saved: tuple[int, int] | None = None
        self.learner = learn()

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

    def put(self, params: Params) -> None:
        self.learner.assign(params)

    def _take_up(self, found: Checkpoint) -> None:
        self.learner.assign(found.adapter)
        self.learner.load_state(found.optimizer)
        self.progress, self.held = found.progress, found.held
        self.flat = FlatLoss([loss for _, loss in self.progress.curve])

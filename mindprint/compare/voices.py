"""The calibrated voices of two runs, paired by open prompt on the scale of the first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from mindprint.compare.run import Run
from mindprint.disk.sealed import Damaged
from mindprint.evals.style.instrument import Instrument
from mindprint.exams import read_exam
from mindprint.finished import FINAL
from mindprint.report.scores import Difference, Interval
from mindprint.report.voice import OpenAnswer
from mindprint.rundir import RunDir
from mindprint.scale_again import scale_again


class Scale:
    """The voice scale of a run, made again when it is first asked of: the base's answers and the
    author's are those that the run wrote down, how they are measured is its curriculum's."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @cached_property
    def _made(self) -> tuple[Instrument | None, str]:
        """The instrument, or why there is none."""
        run = self._run
        if why := _unmeasured(run):
            return None, why
        if run.inputs is None:
            return None, f"of `{run.name}`, {run.no_inputs}"
        answers = asked(run)
        return scale_again(
            run.inputs, [one.prompt for one in answers], [one.base for one in answers]
        )

    def at_the_end(self, other: Run) -> tuple[Difference | None, str]:
        """What `other`'s last answers to the open prompts are against the run's, or why they
        cannot be paired."""
        run = self._run
        if why := self._unpaired(other) or _unmeasured(other):
            return None, why
        if _finished(run) != _finished(other):
            return None, "other topics were finished by then"
        here, there = ([one.final for one in asked(each)] for each in (run, other))
        return self._change(here, there)

    def of_topic(self, other: Run, topic: str) -> Difference | None:
        """The same as both left a topic; None where they cannot be paired."""
        if self._unpaired(other) or topic not in _finished(self._run) & _finished(other):
            return None
        here, there = (_answers(run, topic) for run in (self._run, other))
        if not len(here) == len(there) == len(asked(self._run)):
            return None
        return self._change(here, there)[0]

    def _change(self, here: Sequence[str], there: Sequence[str]) -> tuple[Difference | None, str]:
        made, why = self._made
        if made is None:
            return None, why
        change = made.change(here, there)
        return change, "" if change is not None else "the answers are too short to be measured"

    def _unpaired(self, other: Run) -> str:
        """Why nothing of the two can be paired."""
        if any(run.dropped for run in (self._run, other)):
            return "a run that a topic was dropped from was asked anew, after all of its topics"
        prompts = [[one.prompt for one in asked(run)] for run in (self._run, other)]
        if not all(prompts):
            return "not both were asked open prompts"
        return "" if prompts[0] == prompts[1] else "the open prompts are not the same"


def asked(run: Run) -> tuple[OpenAnswer, ...]:
    """The open prompts of a run, with the base's answers and the last state's."""
    return run.result.voice.answers if run.result.voice is not None else ()


def last_voice(run: Run) -> Interval | None:
    """The calibrated voice of the last state, where it could be measured."""
    record = run.result.voice
    if record is None or record.final is None or _unmeasured(run):
        return None
    reading = record.final
    return Interval(value=reading.value, low=reading.low, high=reading.high)


def _unmeasured(run: Run) -> str:
    """Why a run's voice was not measured at its end; "" where it was."""
    record = run.result.voice
    if record is None or record.final is None:
        return f"the voice of `{run.name}` was not measured"
    if record.measurable and record.final.measurable:
        return ""
    why = record.because or record.final.because
    return f"the voice of `{run.name}` could not be measured{f': {why}' if why else ''}"


def _finished(run: Run) -> set[str]:
    return {topic.id for topic in run.topics if topic.status in ("passed", "failed")}


def _answers(run: Run, topic: str) -> tuple[str, ...]:
    """To the open prompts as the run left a topic; () where they are not there as they were
    written."""
    try:
        return read_exam(RunDir(run.path).topic(topic) / FINAL).open
    except (Damaged, KeyError):
        return ()

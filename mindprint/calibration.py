"""The voice scale of a run: the base as its 0, its controls, and its record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from mindprint.curriculum.records import HeldOutAnswer
from mindprint.disk.sealed import read_json, write_json
from mindprint.evals.exam import Examiner
from mindprint.evals.style.instrument import Instrument
from mindprint.report.voice import Control, OpenAnswer, Reading, VoiceRecord

_CONTROLS = TypeAdapter(tuple[Control, ...])


@dataclass(frozen=True)
class Calibration:
    """The instrument with the base's answers to the open prompts and the controls."""

    instrument: Instrument
    prompts: tuple[HeldOutAnswer, ...]
    base: tuple[str, ...]
    reading: Reading
    controls: tuple[Control, ...]

    @property
    def sentence(self) -> str:
        """What is said aloud as the run begins."""
        if not self.instrument.measurable:
            return f"voice goes by the markers: {self.instrument.because}"
        return (
            f"voice is measured on {len(self.prompts)} open prompts, from the base (0) to the "
            f"author's own answers (1), in bags of {self.instrument.bag_words} words"
        )

    def record(self, final: Reading | None, said: tuple[str, ...]) -> VoiceRecord:
        """As the report shows it; `said`: the last state's answers, () while there are none."""
        made = self.instrument
        latest = said or ("",) * len(self.prompts)
        return VoiceRecord(
            measurable=made.measurable,
            because=made.because,
            prompts=len(self.prompts),
            bag_words=made.bag_words,
            auc=made.auc,
            masking=made.masking,
            families=made.families,
            controls=self.controls,
            final=final,
            words=made.word_use(said) if said and made.measurable else (),
            answers=tuple(
                OpenAnswer(prompt=held.prompt, author=held.answer, base=base, final=last)
                for held, base, last in zip(self.prompts, self.base, latest, strict=True)
            ),
        )


def calibrate(examiner: Examiner, folder: Path) -> Calibration:
    """Ask the base, which is all that is attached now; kept in `folder` and not asked twice."""
    where = folder / "voice.json"
    if where.is_file():
        tree = read_json(where)
        base, controls = tuple(tree["base"]), _CONTROLS.validate_python(tree["controls"])
        instrument = examiner.calibrate(base)
        return Calibration(instrument, examiner.open_prompts, base, instrument.read(base), controls)
    made = measured(examiner)
    controls_tree = [control.model_dump(mode="json") for control in made.controls]
    write_json(where, {"base": list(made.base), "controls": controls_tree})
    return made


def measured(examiner: Examiner) -> Calibration:
    """The scale with the model as it stands as its 0, and its controls."""
    base = examiner.ask_open() if examiner.open_prompts else ()
    instrument = examiner.calibrate(base)
    controls: tuple[Control, ...] = ()
    if instrument.measurable:
        controls = instrument.controls(examiner.ask_few_shot())
    return Calibration(instrument, examiner.open_prompts, base, instrument.read(base), controls)

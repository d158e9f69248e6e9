"""Asking a model: quiz questions and open prompts answered in batches, references weighed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from backends.contract import Generated, GenerateSpec, Session
from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, Message, QuizItem
from mindprint.evals.answers import collapsed, judge, summarise, with_pick
from mindprint.evals.degeneracy import LOOPS, Limits, flags_of
from mindprint.evals.likelihood import weigh
from mindprint.evals.prompts import examples, open_prompts, with_examples
from mindprint.evals.sheet import Exam
from mindprint.evals.style.instrument import Instrument
from mindprint.evals.style.of_curriculum import instrument_of
from mindprint.fitting import Fit, asking_advice
from mindprint.report.scores import Answer, Difference, Score
from mindprint.report.voice import Reading
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer


@dataclass(frozen=True)
class Said:
    """One answer of the model: `text` without special tokens, `raw` with them; `flags` are those
    that strike it, `loops` that its end repeats itself, `first_stop` the probability that it
    ended before it began."""

    text: str
    raw: str
    ids: tuple[int, ...]
    stop: str
    flags: tuple[str, ...]
    loops: bool
    first_stop: float


def _go_on() -> None:
    """Nobody asks an examiner to stop."""


def _unheard(text: str) -> None:
    """Nobody listens to an examiner."""


class Examiner:
    """Asks the session's model as it stands at each call. `seconds` sums the time it took.

    `open_prompts`: the author's held-out answers whose prompts are asked for the voice, () where
    there are too few. `halt` is called as answers are decoded and references are weighed, and may
    raise; `tell` hears of batches made smaller on a full device, where `run.on_oom` asks for that;
    else asking raises DeviceFull. `instrument` is the voice scale once `calibrate` has been given
    its 0.
    """

    def __init__(
        self,
        session: Session,
        renderer: Renderer,
        curriculum: Curriculum,
        config: Config,
        *,
        halt: Callable[[], None] = _go_on,
        tell: Callable[[str], None] = _unheard,
    ) -> None:
        self._session = session
        self._renderer = renderer
        self._curriculum = curriculum
        self._config = config
        self._halt, self._listener = halt, tell
        self._told: set[str] = set()
        self._fit = Fit(
            halt=halt,
            on_full=config.run.on_oom,
            tell=self._tell,
            where="evaluation",
            advice=partial(asking_advice, shrinks=config.run.engine == "native"),
            unit="prompts",
        )
        voice = curriculum.voice
        self._limits = Limits.of(
            [*(held.answer for held in voice.answers), *(one.text for one in voice.writing)]
        )
        self.open_prompts = open_prompts(curriculum, config.eval.prompts)
        self.instrument: Instrument | None = None
        self.seconds = 0.0

    def ask(self, items: Sequence[QuizItem]) -> Exam:
        """The quiz alone; its voice is by the markers."""
        return self.ask_many({"": items})[""]

    def ask_many(self, groups: Mapping[str, Sequence[QuizItem]]) -> dict[str, Exam]:
        """An exam for each group, all questions in one pass of batches."""
        with self._timed():
            items = [item for group in groups.values() for item in group]
            answers = self._answers(items) if items else []
            exams, start = {}, 0
            for name, group in groups.items():
                exams[name] = self._exam(group, answers[start : start + len(group)])
                start += len(group)
            return exams

    def examine(self, items: Sequence[QuizItem]) -> Exam:
        """The quiz and, where the scale is calibrated, the open prompts."""
        exam = self.ask(items)
        if self.instrument is None or not self.instrument.measurable:
            return exam
        return self.read(exam, self.ask_open())

    def ask_open(self) -> tuple[str, ...]:
        """The model's answers to the open prompts."""
        with self._timed():
            system = self._curriculum.system
            prompts = [question(system, held.prompt) for held in self.open_prompts]
            return tuple(said.text for said in self.answer(prompts))

    def ask_few_shot(self) -> tuple[str, ...]:
        """... after some of the author's training rows: the baseline to beat; () if unwanted."""
        shown = examples(self._curriculum, self._config.eval.few_shot)
        if not shown:
            return ()
        with self._timed():
            system = self._curriculum.system
            prompts = [with_examples(system, shown, held.prompt) for held in self.open_prompts]
            return tuple(said.text for said in self.answer(prompts))

    def calibrate(self, base: Sequence[str]) -> Instrument:
        """The scale on which `base`, answers to the open prompts, is 0 and the author is 1."""
        with self._timed():
            self.instrument = instrument_of(self._curriculum, self._config, base)
        return self.instrument

    def read(self, exam: Exam, said: Sequence[str], reading: Reading | None = None) -> Exam:
        """The exam with the model's place on the voice scale, from its answers to the open prompts
        or a `reading` made of them; by the markers still where that cannot be measured."""
        if reading is None:
            if self.instrument is None:
                return exam
            with self._timed():
                reading = self.instrument.read(said)
        scale = self.instrument is not None and self.instrument.measurable
        score = calibrated(exam.score, reading, scale)
        return replace(exam, score=score, reading=reading, open=tuple(said))

    def change(self, before: Exam, after: Exam) -> Difference | None:
        """The paired change of the calibrated voice; None where it cannot be measured."""
        if self.instrument is None or not self.instrument.measurable:
            return None
        if not before.open or not after.open:
            return None
        with self._timed():
            return self.instrument.change(before.open, after.open)

    def answer(
        self, prompts: Sequence[Sequence[Message]], *, temperature: float = 0.0, seed: int = 0
    ) -> list[Said]:
        """One answer a prompt, greedy unless a temperature is given."""
        if not prompts:
            return []
        spec = GenerateSpec(
            max_tokens=self._config.eval.max_tokens,
            stop_ids=self._renderer.stop_ids,
            temperature=temperature,
            seed=seed,
        )
        ids = [self._renderer.prompt(prompt) for prompt in prompts]
        answers = []
        for made in self._generated(ids, spec):
            text, raw = self._renderer.decode(made.ids), self._renderer.decode_raw(made.ids)
            flags = flags_of(text, raw, made.ids, made.stop, self._renderer.special_texts)
            loops = LOOPS in flags.soft
            said = Said(text, raw, made.ids, made.stop, flags.hard, loops, made.first_stop)
            answers.append(said)
        return answers

    def _generated(self, ids: Sequence[Sequence[int]], spec: GenerateSpec) -> list[Generated]:
        """In smaller batches all prompts are asked again: each draws from its own random state."""

        def decode(size: int) -> list[Generated]:
            batches = replace(spec, batch_size=size)
            return self._session.generate(ids, batches, lambda row, token: self._halt())

        return self._fit.whole(min(spec.batch_size, len(ids)), decode)[0]

    def _tell(self, text: str) -> None:
        """Once: every exam of a run meets the same limit."""
        if text not in self._told:
            self._told.add(text)
            self._listener(text)

    def summarise(self, items: Sequence[QuizItem], answers: Sequence[Answer]) -> Score:
        """The score of some answers, with this run's pass marks, seed and resamples."""
        gate, config = self._config.gate, self._config
        return summarise(
            items,
            answers,
            marks=(gate.accuracy, gate.voice),
            seed=config.run.seed,
            resamples=config.eval.resamples,
        )

    def _answers(self, items: Sequence[QuizItem]) -> list[Answer]:
        system = self._curriculum.system
        said = self.answer([question(system, item.question) for item in items])
        weighed = weigh(
            self._session, self._renderer, system, items, replace(self._fit, unit="rows")
        )
        answers = []
        for item, one, found in zip(items, said, weighed, strict=True):
            answer = self._judged(item, one)
            answer = answer if found.pick is None else with_pick(answer, item, found.pick)
            measured = {"nll": found.loss, "first_stop": one.first_stop}
            answers.append(answer.model_copy(update=measured))
        return answers

    def _judged(self, item: QuizItem, said: Said) -> Answer:
        voice, special = self._curriculum.voice, self._renderer.special_texts
        return judge(
            item,
            voice,
            said.text,
            said.raw,
            said.ids,
            said.stop,
            special=special,
            limits=self._limits,
        )

    def _exam(self, items: Sequence[QuizItem], answers: Sequence[Answer]) -> Exam:
        marked = tuple(collapsed(items, answers))
        clusters = tuple(item.cluster for item in items)
        alone = tuple(answers) if marked != tuple(answers) else ()
        return Exam(self.summarise(items, marked), marked, clusters, alone=alone)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


def calibrated(score: Score, reading: Reading, scale: bool) -> Score:
    """The score as the gate reads it, by the reading, where the run has a voice `scale`.

    Answers that cannot be placed on it, too few words among them, have no voice: they would else
    be let off with the markers that the others are not judged by."""
    if not scale:
        return score
    if not reading.measurable:
        why = f"voice 0.00: {reading.because}"
        none = {"voice": 0.0, "voice_by": "calibrated", "voice_interval": None}
        return score.model_copy(update={**none, "reasons": (*score.reasons, why)})
    interval = (reading.low, reading.high)
    read = {"voice": reading.value, "voice_by": "calibrated", "voice_interval": interval}
    return score.model_copy(update=read)

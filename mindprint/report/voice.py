"""The calibrated voice: readings on the scale from the base to the author, and their controls."""

from __future__ import annotations

from typing import Literal

from mindprint.report.scores import Frozen


class FamilyReading(Frozen):
    """One feature family: similarities to the author's held-out answers of the base's answers
    (0 on the scale), of the author's own (1) and of the model's, and the model's place between.

    `value` is not clipped; `low`, `high`: its 95 % interval. `auc`: how well the family tells the
    author's bags from the base's. A family that is not `measurable` (`because`) is left out of
    the headline.
    """

    name: str
    base: float
    author: float
    model: float
    value: float
    low: float
    high: float
    auc: float
    measurable: bool = True
    because: str = ""


class Reading(Frozen):
    """The open prompts under one state of the model, on the scale from the base (0) to the author
    (1). `value`: mean over the measurable families of their values clipped to 0..1, with its 95 %
    interval; `unclipped` likewise without clipping. `words`: per bag. `copied`: share of the
    answers' 8-word runs that stand in the training text, `longest_copy`: words in the longest of
    them; `on_prompt`: share of answers that hold a content word of their prompt."""

    value: float
    low: float
    high: float
    unclipped: float
    families: tuple[FamilyReading, ...]
    prompts: int
    words: int
    copied: float
    longest_copy: int
    on_prompt: float
    degenerate: float = 0.0
    measurable: bool = True
    because: str = ""


class Control(Frozen):
    """A voice score that keeps the others honest: the ceiling, an impostor, the few-shot baseline,
    a copyist. `expected` says in words what a sound instrument gives."""

    name: str
    kind: Literal["author", "base", "impostor", "few-shot", "copy", "shuffled"]
    value: float
    low: float
    high: float
    expected: str
    copied: float = 0.0


class WordUse(Frozen):
    """How often the model and the author say a word, and z, the log-odds ratio with an informative
    Dirichlet prior over its standard error (Monroe et al. 2008): above 0 the model overuses it."""

    word: str
    model: int
    author: int
    z: float


class OpenAnswer(Frozen):
    """An open prompt of the voice scale, answered by the author, the base and the final model."""

    prompt: str
    author: str
    base: str
    final: str = ""


class VoiceRecord(Frozen):
    """The voice scale of the run. Where it is not `measurable`, `because` says why and gates went
    by the markers. `masking`: which words were left standing. `final`: the last state's reading;
    `words`: over- and under-used words of the final model, strongest first."""

    measurable: bool
    because: str
    prompts: int
    bag_words: int
    auc: float
    masking: str
    families: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    final: Reading | None = None
    words: tuple[WordUse, ...] = ()
    answers: tuple[OpenAnswer, ...] = ()

"""The instrument: open answers in, a reading on the scale from the base to the author out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from mindprint.curriculum.records import HeldOutAnswer, Voice
from mindprint.evals.degeneracy import loops
from mindprint.evals.prompts import FEWEST
from mindprint.evals.stats import SEEN_IN_STANDARD_ERRORS
from mindprint.evals.style import controls, masking
from mindprint.evals.style.bags import draw
from mindprint.evals.style.copies import CopyCheck
from mindprint.evals.style.embedding import Embedding
from mindprint.evals.style.families import (
    STYLOMETRIC,
    Characters,
    Family,
    FunctionWords,
    Lengths,
    Markers,
)
from mindprint.evals.style.impostors import Impostor, comparable, laid_out, shipped
from mindprint.evals.style.scale import Placed, Scale, counted, interval
from mindprint.evals.style.words import word_use
from mindprint.evals.text import normalise
from mindprint.report.scores import Difference, Interval
from mindprint.report.voice import Control, FamilyReading, Reading, WordUse

FEWEST_WORDS = 100
"""Words below which a bag says nothing."""
LEAST_AUC = 0.75
"""A family tells this author from the base at least this well, or is left out."""
SPLITS = 16
"""Random halves of the prompts: with fewer, which halves were drawn shows in the second place."""
PAIRED = (-1.0, 1.0)
"""Ends of a family in a paired change: as far beyond the base as the author is from it."""
OPEN = (-float("inf"), float("inf"))
FRAMING = 0.1
"""A word of content in more than this share of the prompts is how prompts are put ("tell me")."""


class Instrument:
    """A voice scale over open prompts: `base`, one answer for each of `answers`, is 0 and the
    author's own held-out answers are 1.

    `trained`: texts the model is trained on, for the copy check. `topic_terms`: texts whose words
    are knowledge and masked. `impostors`: other authors, those that ship unless given. `splits`:
    random halves of the prompts; `most_words`: bags hold no more than this, as many as fit without
    it. The same input gives the same figures.

    Where not `measurable`, `because` says why. `auc`: of the stylometric family that tells author
    from base best, which is what makes the scale measurable. `bag_words`: words in a bag.
    Raises ConfigError for an embedder that cannot be used, ValueError for unpaired answers.
    """

    def __init__(
        self,
        answers: Sequence[HeldOutAnswer],
        base: Sequence[str],
        voice: Voice,
        *,
        trained: Sequence[str] = (),
        topic_terms: Sequence[str] = (),
        seed: int = 42,
        resamples: int = 2000,
        embedder: str | None = None,
        impostors: Sequence[Impostor] | None = None,
        splits: int = SPLITS,
        most_words: int | None = None,
    ) -> None:
        self._prompts = [held.prompt for held in answers]
        self._author = [held.answer for held in answers]
        self._base, self._voice, self._seed = list(base), voice, seed
        self._trained = list(trained)
        self._copies = CopyCheck(self._trained)
        self.measurable, self.because, self.bag_words, self.auc = False, "", 0, 0.0
        self.masking = ""
        self.families: tuple[str, ...] = ()
        self._impostors: tuple[Impostor, ...] = ()
        count = len({normalise(prompt) or prompt for prompt in self._prompts})
        if count < FEWEST:
            many = "answer" if count == 1 else "answers"
            self.because = f"{count} held-out {many} to open prompts, and it takes {FEWEST}"
            return
        if len(base) != len(answers):
            raise ValueError(f"{len(base)} answers of the base for {len(answers)} prompts")
        self._masking = masking.choose(self._author, self._base, voice.function_words, topic_terms)
        self.masking = self._masking.label
        others = shipped() if impostors is None else impostors
        self._impostors = comparable(others, self._author, self._base, self._masking)
        families = self._families(embedder)
        self._counted = lru_cache(maxsize=16)(lambda said: counted(said, families))
        self._scale = Scale(
            families,
            draw(self._prompts, resamples, splits, seed),
            self._counted(tuple(self._author)),
            self._counted(tuple(self._base)),
            most_words,
        )
        self.bag_words = self._scale.words
        self._calibrate()

    def read(self, said: Sequence[str]) -> Reading:
        """Where answers to the open prompts stand. Raises ValueError unless one for each."""
        if not self.measurable:
            return self._reading(said, 0, because=self.because)
        words = self._fitting(said)
        if words < FEWEST_WORDS:
            why = f"half of the answers fill {words} words, and a bag takes {FEWEST_WORDS}"
            return self._reading(said, words, because=why)
        return self._reading(said, words, self._placed(said, words))

    def change(self, before: Sequence[str], after: Sequence[str]) -> Difference | None:
        """The paired change of the headline, the same draws of prompts and bags of the same
        length for both; None where one of the two cannot be measured. A family counts down to -1
        here: what goes further from the author than the base is has fallen, though both are 0.

        `p`: twice the smaller share of resamples on one side of 0, the seen change counted among
        them. `unseen`: 2.80 standard errors, the standard deviation of the resamples
        (Efron and Tibshirani 1993; Miller 2024, arXiv 2411.00640).
        """
        if not self.measurable:
            return None
        words = min(self._fitting(before), self._fitting(after))
        if words < FEWEST_WORDS:
            return None
        earlier, earlier_drawn = self._placed(before, words).headline(self._kept, *PAIRED)
        later, later_drawn = self._placed(after, words).headline(self._kept, *PAIRED)
        drawn = later_drawn - earlier_drawn
        low, high = interval(drawn)
        tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
        return Difference(
            value=later - earlier,
            low=min(low, later - earlier),
            high=max(high, later - earlier),
            p=min(1.0, float(2 * (tail + 1) / (len(drawn) + 1))),
            clusters=self._scale.draws.prompts,
            unseen=float(SEEN_IN_STANDARD_ERRORS * drawn.std()),
        )

    def controls(self, few_shot: Sequence[str] = ()) -> tuple[Control, ...]:
        """What keeps the scale honest: its ends, each impostor, the `few_shot` answers where they
        are given, a copyist, and a scale between ends drawn by lot. () where not measurable."""
        if not self.measurable:
            return ()
        made: list[Control | None] = [
            controls.author(self._scale.place_halves(), self._kept),
            controls.base(self.read(self._base)),
        ]
        for one in self._impostors:
            reading = self.read(laid_out(one, self._prompts))
            made.append(controls.impostor(one.title, reading))
        if few_shot:
            made.append(controls.few_shot(self.read(few_shot)))
        if copied := controls.copied_answers(
            self._trained, self._voice, len(self._prompts), self._seed
        ):
            made.append(controls.copyist(self.read(copied)))
        made.append(controls.shuffled(self._scale, self._stylometric, self._seed))
        return tuple(one for one in made if one is not None)

    def ceiling(self) -> Interval:
        """One half of the author's answers against the other, in bags of half the words, not
        clipped: what chance does to a perfect model. Raises ValueError where not measurable."""
        if not self.measurable:
            raise ValueError(f"there is no scale: {self.because}")
        value, drawn = self._scale.place_halves().headline(self._kept, *OPEN)
        low, high = interval(drawn)
        return Interval(value=value, low=min(value, low), high=max(value, high))

    def word_use(self, said: Sequence[str]) -> tuple[WordUse, ...]:
        """Words that the answers over- and underuse against the author's."""
        return word_use(said, self._author, self._base)

    def _families(self, embedder: str | None) -> tuple[Family, ...]:
        hands = [self._author, self._base]
        hands += [laid_out(one, self._prompts) for one in self._impostors]
        pool = [text for hand in hands for text in hand]
        made: list[Family] = [
            Characters(pool, self._masking),
            FunctionWords(hands, self._masking, self._seed),
            Lengths(self._masking),
        ]
        if self._voice.markers:
            made.append(Markers(self._voice))
        if embedder is not None:
            made.append(Embedding(embedder))
        return tuple(made)

    def _calibrate(self) -> None:
        """Which families tell the author from the base, and whether that is enough."""
        self.families = tuple(family.name for family in self._scale.families)
        if self.bag_words < FEWEST_WORDS:
            self._aucs = [0.0] * len(self.families)
            self.because = (
                f"half of the answers of author or base fill {self.bag_words} words, "
                f"and a bag takes {FEWEST_WORDS}"
            )
            return
        self._aucs = self._scale.aucs()
        rows = zip(self._scale.families, self._aucs, self._scale.distances(), strict=True)
        self._whys = [one.because or _why_not(auc, distance) for one, auc, distance in rows]
        self._kept = tuple(place for place, why in enumerate(self._whys) if not why)
        self.auc = max(self._aucs[place] for place in self._stylometric)
        self.measurable = any(place in self._kept for place in self._stylometric)
        if not self.measurable:
            found = ", ".join(
                f"{self.families[place]} ({self._whys[place]})" for place in self._stylometric
            )
            self.because = f"no family tells the author from the base: {found}"

    @property
    def _stylometric(self) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(self.families) if name in STYLOMETRIC)

    def _fitting(self, said: Sequence[str]) -> int:
        if len(said) != len(self._prompts):
            raise ValueError(f"{len(said)} answers for {len(self._prompts)} prompts")
        return min(self.bag_words, self._scale.fitting(self._counted(tuple(said))))

    def _placed(self, said: Sequence[str], words: int) -> Placed:
        return self._scale.place(self._counted(tuple(said)), words)

    def _reading(
        self, said: Sequence[str], words: int, placed: Placed | None = None, because: str = ""
    ) -> Reading:
        value, low, high, unclipped = 0.0, 0.0, 0.0, 0.0
        families: tuple[FamilyReading, ...] = ()
        if placed is not None:
            value, low, high = headline(placed, self._kept)
            unclipped = placed.headline(self._kept, *OPEN)[0]
            families = tuple(self._family(placed, place) for place in range(len(self.families)))
            if words < self.bag_words:
                because = f"bags of {words} words, where the scale's hold {self.bag_words}"
        return Reading(
            value=value,
            low=low,
            high=high,
            unclipped=unclipped,
            families=families,
            prompts=len(self._prompts),
            words=words,
            copied=self._copies.share(said),
            longest_copy=self._copies.longest(said),
            on_prompt=self._on_prompt(said) if self.masking else 0.0,
            degenerate=_share([not text.strip() or loops(text) for text in said]),
            measurable=placed is not None,
            because=because,
        )

    def _family(self, placed: Placed, place: int) -> FamilyReading:
        kept = not self._whys[place]
        value = float(placed.value[place])
        low, high = interval(placed.drawn[place])
        return FamilyReading(
            name=self.families[place],
            base=float(placed.base[place]),
            author=float(placed.author[place]),
            model=float(placed.model[place]),
            value=value if kept else 0.0,
            low=min(value, low) if kept else 0.0,
            high=max(value, high) if kept else 0.0,
            auc=self._aucs[place],
            measurable=kept,
            because=self._whys[place],
        )

    def _on_prompt(self, said: Sequence[str]) -> float:
        """Share of answers that hold a word of content of their prompt, of those that have one."""
        asked = [self._masking.content(prompt) for prompt in self._prompts]
        most = FRAMING * len(asked)
        framing = {word for one in asked for word in one if sum(word in o for o in asked) > most}
        pairs = [(one - framing, text) for one, text in zip(asked, said, strict=True)]
        return _share([bool(one & self._masking.content(text)) for one, text in pairs if one])


def headline(placed: Placed, kept: Sequence[int]) -> tuple[float, float, float]:
    """Mean of the clipped families and its 95 % interval, which holds it."""
    value, drawn = placed.headline(kept)
    low, high = interval(drawn)
    return value, min(value, low), max(value, high)


def _why_not(auc: float, distance: tuple[float, float]) -> str:
    """Why a family cannot be measured; "" where it can."""
    if auc < LEAST_AUC:
        return f"AUC {auc:.2f}, below {LEAST_AUC}"
    low, high = distance
    if low <= 0:
        return f"author minus base is {low:.2f} to {high:.2f}, which holds 0"
    return ""


def _share(found: Iterable[bool]) -> float:
    values = list(found)
    return sum(values) / len(values) if values else 0.0

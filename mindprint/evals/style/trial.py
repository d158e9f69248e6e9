"""A trial of the instrument on known authors: tables that anyone can make again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mindprint.curriculum.records import HeldOutAnswer, Source, Voice
from mindprint.evals.style.impostors import Impostor
from mindprint.evals.style.instrument import Instrument

BAGS = (100, 200, 400)
"""Words a bag is held to, besides all there are."""
SEEDS = 5
FAMILIES = ("characters", "function words", "lengths", "markers")


class Trial:
    """Each of `authors` in turn is the author and the others are its impostors.

    `base`: answers to the same prompts. `trained`: training texts of the author of that name, for
    the copyist. `voices`: markers of the author of that name. `formulas`: a phrase full of that
    author's habits, for a base that ends every answer with it.
    """

    def __init__(
        self,
        authors: Sequence[Impostor],
        base: Sequence[str],
        *,
        trained: dict[str, Sequence[str]],
        voices: dict[str, Voice],
        formulas: dict[str, str],
        seed: int = 42,
        resamples: int = 2000,
    ) -> None:
        self._authors = tuple(authors)
        self._base = tuple(base)
        self._trained, self._voices, self._formulas = trained, voices, formulas
        self._seed, self._resamples = seed, resamples
        self._made = {one.title: self._instrument(one) for one in self._authors}

    def tables(self) -> Iterator[str]:
        """Lines of Markdown."""
        yield from self._against_base()
        yield from self._against_others()
        yield from self._controls()
        yield from self._mixtures()
        yield from self._by_seed()
        yield from self._by_words()

    def _instrument(
        self,
        author: Impostor,
        base: Sequence[str] = (),
        most_words: int | None = None,
        seed: int | None = None,
    ) -> Instrument:
        pairs = zip(author.prompts, author.answers, strict=True)
        held = [HeldOutAnswer(p, a, Source(author.name, i)) for i, (p, a) in enumerate(pairs, 1)]
        return Instrument(
            held,
            base or self._base,
            self._voices.get(author.name, Voice()),
            trained=self._trained.get(author.name, ()),
            impostors=[one for one in self._authors if one.name != author.name],
            seed=self._seed if seed is None else seed,
            resamples=self._resamples,
            most_words=most_words,
        )

    def _against_base(self) -> Iterator[str]:
        yield from _title("Telling each author from the base: AUC per family")
        yield from _head("author", "words in a bag", *FAMILIES)
        for name, made in self._made.items():
            yield _row(name, made.bag_words, *_aucs(made, self._base))

    def _against_others(self) -> Iterator[str]:
        yield from _title("Telling each author from another: AUC per family")
        yield from _head("author", "from", "words in a bag", *FAMILIES)
        for author in self._authors:
            for other in self._authors:
                if other.name != author.name:
                    made = self._instrument(author, other.answers)
                    yield _row(
                        author.title, other.title, made.bag_words, *_aucs(made, other.answers)
                    )

    def _controls(self) -> Iterator[str]:
        yield from _title("Controls: voice, its 95 % interval, and the share copied")
        yield from _head("author", "control", "voice", "interval", "copied")
        for name, made in self._made.items():
            for one in made.controls():
                copied = _number(one.copied) if one.kind == "copy" else "-"
                yield _row(name, one.name, _number(one.value), _span(one.low, one.high), copied)

    def _mixtures(self) -> Iterator[str]:
        """Between an author and the base: every other answer the author's, and a formula."""
        yield from _title("What little it takes: mixtures with the base's answers")
        yield from _head("author", "answers", "voice", "interval", *FAMILIES)
        for author in self._authors:
            said = {"half the author's": self._half(author)}
            if formula := self._formulas.get(author.name):
                said["the base's with a formula"] = [f"{text} {formula}" for text in self._base]
            for name, answers in said.items():
                read = self._made[author.title].read(answers)
                found = {one.name: one.value for one in read.families if one.measurable}
                places = (_number(found.get(family)) for family in FAMILIES)
                span = _span(read.low, read.high)
                yield _row(author.title, name, _number(read.value), span, *places)

    def _by_seed(self) -> Iterator[str]:
        """What the halves that happened to be drawn, and the draws, add to a reading."""
        seeds = range(self._seed, self._seed + SEEDS)
        yield from _title("By seed: half the author's answers and half the base's")
        yield from _head("author", *(f"seed {seed}" for seed in seeds), "spread")
        for author in self._authors:
            made = (self._instrument(author, seed=seed) for seed in seeds)
            found = [one.read(self._half(author)).value for one in made]
            yield _row(author.title, *map(_number, found), f"{max(found) - min(found):.3f}")

    def _half(self, author: Impostor) -> list[str]:
        """Every other answer the author's, the rest the base's."""
        pairs = enumerate(zip(author.answers, self._base, strict=True))
        return [base if place % 2 else own for place, (own, base) in pairs]

    def _by_words(self) -> Iterator[str]:
        """Between an author and the next one: their answers are longer than the base's."""
        yield from _title(
            "By words in a bag: one half of the author's answers against the other (unclipped, "
            "bags half as long), and a mixture of the author's answers with another author's"
        )
        yield from _head("author", "words", "lowest AUC", "own half", "width", "mixture", "width")
        others = (*self._authors[1:], self._authors[0])
        for author, other in zip(self._authors, others, strict=True):
            pairs = enumerate(zip(author.answers, other.answers, strict=True))
            mixed = [theirs if place % 2 else own for place, (own, theirs) in pairs]
            for most in (*BAGS, None):
                made = self._instrument(author, other.answers, most)
                read, own = made.read(mixed), made.ceiling()
                auc = min(one.auc for one in read.families)
                yield _row(
                    author.title,
                    made.bag_words,
                    _number(auc),
                    _span(own.low, own.high),
                    _number(own.high - own.low),
                    _span(read.low, read.high),
                    _number(read.high - read.low),
                )


def _aucs(made: Instrument, base: Sequence[str]) -> list[str]:
    found = {one.name: one.auc for one in made.read(base).families}
    return [_number(found.get(name)) for name in FAMILIES]


def _title(text: str) -> Iterator[str]:
    yield from ("", f"**{text}**", "")


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _span(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"

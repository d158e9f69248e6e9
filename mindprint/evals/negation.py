"""Whether a phrase that stands in an answer is said, or denied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindprint.evals.text import clauses

REACH = 3
"""Words before a phrase among which a negator reaches it."""

NEGATORS = frozenset(
    {
        *("not", "never", "no", "nor", "neither", "without", "nobody", "nothing", "none", "hardly"),
        *("cannot", "cant", "couldnt", "wont", "wouldnt", "shouldnt", "mustnt", "neednt", "aint"),
        *("isnt", "arent", "wasnt", "werent", "dont", "doesnt", "didnt", "hasnt", "havent"),
        *("hadnt", "shant", "mightnt", "oughtnt"),
    }
)
"""English words that deny what follows; apostrophes are dropped before."""

TURNS = frozenset({"but", "however", "rather", "instead", "though", "although"})
"""Words that end a clause as punctuation does."""

# A negator before one of these says no less than the words after it: "not only", "no doubt".
_AFFIRMING = frozenset(
    {"only", "just", "merely", "simply", "solely", "alone", "doubt", "wonder", "question", "matter"}
)
# "did not open until ten" says that it opens at ten; "no less than two" says two.
_LIMITS = frozenset({"until", "till"})
_DEGREES = frozenset({"less", "fewer", "more", "other", "later", "earlier", "sooner"})
# "rather than wood" and "instead of wood" end a clause and deny what follows.
_DENYING = frozenset({("rather", "than"), ("instead", "of")})


@dataclass(frozen=True)
class Spoken:
    """An answer's normalised words, and for each the place where its clause begins."""

    words: tuple[str, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Spoken:
        spoken: list[str] = []
        starts: list[int] = []
        for clause in clauses(text):
            starts += [len(spoken)] * len(clause)
            spoken += clause
        return cls(tuple(spoken), tuple(starts))

    def places(self, phrase: Sequence[str]) -> Iterator[int]:
        """Where `phrase`, normalised words, stands word for word."""
        wanted = tuple(phrase)
        for place in range(len(self.words) - len(wanted) + 1 if wanted else 0):
            if self.words[place : place + len(wanted)] == wanted:
                yield place

    def holds(self, phrase: Sequence[str]) -> bool:
        """Whether `phrase`, normalised words, stands anywhere, denied or not."""
        return next(self.places(phrase), -1) >= 0

    def denied(self, place: int) -> bool:
        """Whether an odd number of negators stands before the word at `place`.

        Counted are those among the REACH words before it in its clause; articles are no words.
        A negator within a phrase is the phrase's own. This reads English, and only what stands
        close before a phrase: "velvet it is not", "it is wrong that the pan is lined with
        velvet" and a list after its first comma ("not velvet, soot") read as said, and sense
        turned by irony or quotation is not seen.
        """
        before = self.words[max(self.starts[place], place - REACH) : place]
        return _negators(before) % 2 == 1


def _negators(before: Sequence[str]) -> int:
    """How many negators of `before` reach its end."""
    turn = max((at for at, word in enumerate(before) if word in TURNS), default=-1)
    if turn >= 0:
        denying = tuple(before[turn : turn + 2]) in _DENYING
        return int(denying) + _negators(before[turn + 1 :])
    # `nor` carries on the denial that stands before it: "neither velvet nor soot".
    carried = max((at for at, word in enumerate(before) if word == "nor"), default=0)
    reaching = before[carried:]
    return sum(
        word in NEGATORS and not _affirms(reaching[at + 1 :]) for at, word in enumerate(reaching)
    )


def _affirms(after: Sequence[str]) -> bool:
    """Whether the words after a negator turn it into an affirmation."""
    if not after:
        return False
    limits = not _LIMITS.isdisjoint(after)
    return limits or after[0] in _AFFIRMING or (after[0] in _DEGREES and "than" in after[1:2])

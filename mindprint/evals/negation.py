"""Whether a phrase that stands in an answer is said, or denied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import regex

from mindprint.evals.text import clauses

REACH = 3
"""Words before a phrase among which a negator reaches it."""
REFUTING = 5
"""Words after a phrase, in its sentence, within which it may be called false."""

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
# "There is nothing like oak", "not unlike oak", "he cannot help liking oak".
_PRAISING = frozenset(
    {("nothing", "like"), ("nothing", "but"), ("not", "unlike")}
    | {("cannot", "help"), ("cant", "help"), ("couldnt", "help")}
)
# "did not open until ten" says that it opens at ten; "no less than two" says two.
_LIMITS = frozenset({"until", "till"})
_DEGREES = frozenset({"less", "fewer", "more", "other", "later", "earlier", "sooner"})
# "rather than wood" and "instead of wood" end a clause and deny what follows.
_DENYING = frozenset({("rather", "than"), ("instead", "of")})
# "No it is oak": before one of these a clause's first `no` answers, and denies nothing after it.
_PRONOUNS = frozenset(
    {
        *("i", "you", "he", "she", "it", "we", "they", "this", "that", "these", "those", "there"),
        *("my", "your", "his", "her", "our", "their", "its", "thats", "theres", "hes", "shes"),
        *("im", "youre", "were", "theyre", "ive", "youve", "weve", "theyve"),
    }
)
# "... but that is false": what points back, and what it is called.
_POINTING = frozenset({"that", "this", "which", "it"})
_POINTED = frozenset({"thats", "its"})
_DEGREE = frozenset({"quite", "just", "simply", "plainly", "all", "utterly", "wholly", "entirely"})
_FALSE = frozenset({"false", "wrong", "untrue", "nonsense", "rubbish", "mistaken"})
_TRUE = frozenset({"so", "true", "right"})
# What may follow a verdict; "it is wrong to say" and "not so bad" are none.
_AFTER = TURNS | {"and", "or", "for", "because", "since", "as"}

# A full stop within a number ends no sentence.
_SENTENCE_ENDS = regex.compile(r"(?!(?<=\d)\.(?=\d))[.!?\u2026\n\p{STerm}]")


@dataclass(frozen=True)
class Spoken:
    """An answer's normalised words, and for each the place where its clause begins and the place
    after its sentence."""

    words: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Spoken:
        spoken: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        for sentence in _SENTENCE_ENDS.split(text):
            for clause in clauses(sentence):
                starts += [len(spoken)] * len(clause)
                spoken += clause
            ends += [len(spoken)] * (len(spoken) - len(ends))
        return cls(tuple(spoken), tuple(starts), tuple(ends))

    def places(self, phrase: Sequence[str]) -> Iterator[int]:
        """Where `phrase`, normalised words, stands word for word."""
        wanted = tuple(phrase)
        for place in range(len(self.words) - len(wanted) + 1 if wanted else 0):
            if self.words[place : place + len(wanted)] == wanted:
                yield place

    def holds(self, phrase: Sequence[str]) -> bool:
        """Whether `phrase`, normalised words, stands anywhere, denied or not."""
        return next(self.places(phrase), -1) >= 0

    def denied(self, place: int, size: int = 1) -> bool:
        """Whether the `size` words from `place` on are denied: an odd number of times.

        Counted are the negators among the REACH words before them in their clause (articles are
        no words), and once more if within the REFUTING words after them, in the same sentence,
        they are called false ("... but that is wrong", "... which is not so"). `no` before digits
        is "number"; a clause's first `no` before a pronoun answers a question and denies nothing.
        A negator within a phrase is the phrase's own.

        This reads English, and only what stands close to a phrase. Still missed, read as said:
        "velvet it is not", "it is wrong that the pan is lined with velvet", "anything but
        velvet", a list after its first comma ("not velvet, soot"). Still missed, read as denied:
        "I can't recommend oak enough", "not a day passes without tea", the opening in "I don't
        think it opens until ten". Sense turned by irony or quotation is not seen.
        """
        first = max(self.starts[place], place - REACH)
        before = list(self.words[first:place])
        following = self.words[first + 1 : place + 1]
        for at, (word, after) in enumerate(zip(before, following, strict=True)):
            answers = first + at == self.starts[place] and after in _PRONOUNS
            if word == "no" and (answers or after[0].isdecimal()):
                before[at] = ""
        return (_negators(before) + self._refuted(place + size)) % 2 == 1

    def _refuted(self, after: int) -> bool:
        """Whether the words from `after` on call false what stands before them."""
        end = self.ends[after - 1]
        for place in range(after, min(end, after + REFUTING)):
            verdict = _verdict(self.words[place:end])
            last = place + verdict
            if verdict and last <= after + REFUTING:
                return last == end or self.starts[last] == last or self.words[last] in _AFTER
        return False


def _verdict(said: Sequence[str]) -> int:
    """How many of the first words say that something is false; 0 when they do not."""
    if not said:
        return 0
    if said[0] in _POINTED:
        length = 1
    elif said[0] in _POINTING and len(said) > 1 and said[1] in ("is", "was"):
        length = 2
    elif said[0] in _POINTING and len(said) > 1 and said[1] in ("isnt", "wasnt"):
        return 3 if said[2:3] and said[2] in _TRUE else 0
    else:
        return 0
    length += bool(said[length:] and said[length] in _DEGREE)
    rest = tuple(said[length : length + 2])
    if rest and rest[0] in _FALSE:
        return length + 1
    return length + 2 if len(rest) == 2 and rest[0] == "not" and rest[1] in _TRUE else 0


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
        word in NEGATORS and not _affirms(word, reaching[at + 1 :])
        for at, word in enumerate(reaching)
    )


def _affirms(word: str, after: Sequence[str]) -> bool:
    """Whether the words after a negator, `word`, turn it into an affirmation."""
    if not after:
        return False
    if after[0] in _AFFIRMING or (word, after[0]) in _PRAISING:
        return True
    limits = not _LIMITS.isdisjoint(after)
    return limits or (after[0] in _DEGREES and "than" in after[1:2])

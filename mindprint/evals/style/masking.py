"""Masking: what a text is about is hidden, how it is put stays (text distortion).

Stamatatos (2017), "Authorship Attribution Using Text Distortion": words of content become a star
of one length, so that knowing a topic does not read as speaking in the author's voice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import regex

from mindprint.evals.style import english
from mindprint.evals.style.tokens import pieces, spoken

COVERAGE = 0.25
"""Share of the author's words that the English list has to cover to be taken for the language."""
AUTHOR_SHARE, BASE_SHARE = 0.20, 0.10
"""Else a word that stands in these shares of the author's and of the base's answers is one ..."""
TERM_SHARE = 0.20
"""... and a topic's word only if it stands in this share of the base's answers too: the base
knows the language and not the topic."""

_STARS = regex.compile(r"\*+")


@dataclass(frozen=True)
class Masking:
    """`kept`: the function words that are left standing. `label` says which list that is."""

    kept: frozenset[str]
    label: str

    def __call__(self, text: str) -> str:
        """The text with a star for each word of content and # for each number."""
        made = []
        for piece in pieces(text):
            if piece.kind == "word":
                made.append(piece.text if piece.text in self.kept else "*")
            elif piece.kind == "number":
                made.append("#")
            else:
                made.append(" " if piece.kind == "space" else piece.text)
        # Scripts without spaces would show the length of what is masked.
        return _STARS.sub("*", "".join(made))

    def content(self, text: str) -> set[str]:
        """The words of a text that are masked."""
        return {word for word in spoken(text) if word not in self.kept}


def choose(
    author: Sequence[str],
    base: Sequence[str],
    given: Iterable[str] = (),
    topic_terms: Iterable[str] = (),
) -> Masking:
    """The author's own list where voice.yaml gives one; else the English one where it fits; else
    the words that author and base share in many of their answers, whatever the language.

    A word of `topic_terms` is masked although it is in a list, so that knowledge stays hidden;
    but never a pronoun, determiner, preposition, conjunction or auxiliary, which stand in every
    key point ("the Lamb and Lantern") and are the voice, nor a word the author's list names.
    """
    terms = {word for text in topic_terms for word in spoken(text)}
    listed = {word for text in given for word in spoken(text)}
    if listed:
        kept, name = listed, "of voice.yaml"
    elif (share := covered(author, english.WORDS)) >= COVERAGE:
        kept = set(english.GRAMMAR) | (english.HABITS - terms)
        name = f"of English, {share:.0%} of the author's words"
    else:
        kept, name = _frequent(author, base, terms), "found in the answers of author and base"
    label = f"{len(kept)} function words {name}"
    return Masking(frozenset(kept), label)


def covered(texts: Sequence[str], words: Iterable[str]) -> float:
    """Share of the words of `texts` that are among `words`; 0.0 where there is none."""
    known = frozenset(words)
    said = [word for text in texts for word in spoken(text)]
    return sum(word in known for word in said) / len(said) if said else 0.0


def _frequent(author: Sequence[str], base: Sequence[str], terms: set[str]) -> set[str]:
    by_author, by_base = _shares(author), _shares(base)
    return {
        word
        for word, share in by_author.items()
        if share >= AUTHOR_SHARE
        and by_base.get(word, 0.0) >= (TERM_SHARE if word in terms else BASE_SHARE)
    }


def _shares(texts: Sequence[str]) -> dict[str, float]:
    """For each word, the share of texts that hold it."""
    counts = Counter(word for text in texts for word in set(spoken(text)))
    return {word: count / len(texts) for word, count in counts.items()}

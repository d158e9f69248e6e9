"""Masking, families, bags, copies and word use, against sums worked out otherwise."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from mindprint.evals.style import english, masking
from mindprint.evals.style.bags import cut, draw
from mindprint.evals.style.copies import CopyCheck
from mindprint.evals.style.families import Characters, cosines, jensen_shannon
from mindprint.evals.style.scale import auc
from mindprint.evals.style.tokens import sentences, spoken
from mindprint.evals.style.words import word_use
from tests.unit.style.speech import NOUNS, plain

ENGLISH = masking.choose(plain(44), plain(44, 1))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("I’ve seen the Lamb and Lantern, twice!", "i've * the * and *, twice!"),
        ("3,500 geese; 2.5 ducks", "# *; # *"),
        ("well-known\n\nman", "well-* *"),
        ("", ""),
    ],
)
def test_masking_leaves_function_words_and_marks(text: str, masked: str) -> None:
    assert " ".join(ENGLISH(text).split()) == masked


def test_a_topics_words_are_masked_unless_they_are_grammar() -> None:
    chosen = masking.choose(plain(44), plain(44, 1), (), ("the Little Lantern",))
    assert chosen("The little one") == "the * one"
    assert not english.GRAMMAR & english.HABITS


def test_sentences_end_at_stops_and_lines() -> None:
    assert [len(one) for one in sentences('He said "no." Then left!\nGood\n\n...')] == [3, 2, 1]
    assert spoken("Don’t stop, Anna's") == ["don't", "stop", "anna's"]


def test_character_cosine_is_that_of_sklearn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    pool = plain(60)
    family = Characters(pool, ENGLISH)
    ones = np.ones((1, 60), np.float32)
    ours = family.likeness(
        ones[:, :30], family.features(pool[:30]), ones[:, 30:], family.features(pool[30:])
    )
    theirs = TfidfVectorizer(
        analyzer="char", ngram_range=(2, 4), lowercase=False, max_features=1500, norm=None
    ).fit([ENGLISH(text) for text in pool])
    counted = theirs.transform([ENGLISH(text) for text in pool]).toarray()
    oracle = cosine_similarity(counted[:30].sum(0)[None], counted[30:].sum(0)[None])[0, 0]
    assert ours[0] == pytest.approx(oracle, abs=1e-5)  # single precision


def test_jensen_shannon_is_that_of_scipy() -> None:
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(0)
    here = rng.integers(0, 5, (6, 9)).astype(np.float32)
    there = rng.integers(0, 5, (6, 9)).astype(np.float32)
    oracle = [jensenshannon(p, q, base=2) for p, q in zip(here, there, strict=True)]
    # single precision under a root
    assert jensen_shannon(here, there) == pytest.approx(np.array(oracle), abs=1e-4)
    assert jensen_shannon(here[:1], np.zeros((1, 9), np.float32))[0] == 1


def test_a_bag_of_nothing_is_like_nothing() -> None:
    none, one = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    assert cosines(none, one.T, one, one.T).tolist() == [0, 0]


def test_bags_are_cut_at_equal_length() -> None:
    weights = np.array([[1, 2, 0, 1], [0, 0, 0, 1]], np.float32)
    words = np.array([10, 20, 30, 0], np.float32)
    bags = cut(weights, words, 35, np.array([1, 0, 2, 3]))
    # The second answer enters first, drawn twice: 35 of its 40 words fill the bag.
    assert bags[0].tolist() == [0, 1.75, 0, 0]
    assert (bags @ words).tolist() == [35, 0]
    assert cut(weights, words, 45, np.array([1, 0, 2, 3]))[0].tolist() == [0.5, 2, 0, 0]


def test_halves_do_not_depend_on_how_many_draws_are_taken() -> None:
    few, many = (draw(NOUNS, resamples=n, splits=4, seed=3) for n in (20, 500))
    for one, other in zip(few.splits, many.splits, strict=True):
        assert (one.side == other.side).all() and (one.order == other.order).all()
    assert (many.weights[:20] == few.weights).all()


def test_halves_share_no_prompt_and_draws_keep_a_prompts_answers_together() -> None:
    made = draw([*NOUNS, *NOUNS[:5]], resamples=50, splits=3, seed=1)
    assert made.prompts == 20 and len(made.splits) == 6
    for split in made.splits:
        assert split.side[:5].tolist() == split.side[20:].tolist()
        assert split.side[:20].sum() == 10
    assert (made.weights[:, :20].sum(1) == 20).all()
    assert (made.weights[:, :5] == made.weights[:, 20:]).all()


def test_auc_counts_pairs() -> None:
    author, base = np.array([[3.0, 1.0]], np.float32), np.array([[2.0, 1.0]], np.float32)
    # 3 beats both, 1 loses to 2 and ties with 1: (2 + 0.5) of 4 pairs.
    assert auc(author, base) == pytest.approx(2.5 / 4)


@pytest.mark.parametrize(
    ("said", "share", "longest"),
    [
        (["one two three four five six seven eight nine ten"], 1.0, 10),
        (["zero one two three four five six seven eight"], 1 / 2, 8),
        (["nine ten eleven"], 0.0, 2),
        (["the red hen"], 1.0, 2),
        (["x y z", "five six seven eight nine"], 1 / 2, 5),
        (["", "?"], 0.0, 0),
        ([], 0.0, 0),
        (["quite other words than any of those that stand there"], 0.0, 0),
    ],
)
def test_copies(said: list[str], share: float, longest: int) -> None:
    check = CopyCheck(["One two three four, five six seven eight nine ten.", "eleven", "A red hen"])
    assert check.share(said) == pytest.approx(share)
    assert check.longest(said) == longest


def test_word_use_is_monroes_z() -> None:
    said, author = ["tea tea tea milk the the"], ["the the the milk milk rain"]
    found = {use.word: use for use in word_use(said, author)}
    y, x = Counter(said[0].split()), Counter(author[0].split())
    prior = {word: (y[word] + x[word]) * 6 / 12 for word in y | x}

    def z(word: str) -> float:
        a, b, p = y[word] + prior[word], x[word] + prior[word], 6
        gap = math.log(a / (6 + p - a)) - math.log(b / (6 + p - b))
        return gap / math.sqrt(1 / a + 1 / b)

    assert found["tea"].z == pytest.approx(z("tea")) and found["tea"].z > 1
    assert all(abs(use.z) >= 1 for use in found.values())
    assert word_use([], author) == () and word_use(["a"], ["a"]) == ()

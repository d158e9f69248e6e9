"""Invented names: syllables for strangers, plain words for the homely."""

from __future__ import annotations

import random

from demo_model.words import ADJECTIVES, NOUNS, PEOPLE_FIRST

STARTS = [
    "b",
    "br",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "sk",
    "sn",
    "st",
    "t",
    "th",
    "tr",
    "v",
    "w",
    "y",
    "z",
    "sh",
    "gl",
    "bl",
    "cl",
    "ch",
    "dw",
]
MIDDLES = [
    "a",
    "e",
    "i",
    "o",
    "u",
    "ai",
    "ee",
    "oa",
    "ou",
    "ar",
    "er",
    "or",
    "el",
    "an",
    "en",
    "in",
    "on",
    "il",
    "ul",
    "am",
    "em",
    "om",
]
ENDS = [
    "bin",
    "dle",
    "dren",
    "fen",
    "gan",
    "gle",
    "ker",
    "kin",
    "l",
    "lan",
    "lin",
    "m",
    "mar",
    "mer",
    "mund",
    "n",
    "nard",
    "nel",
    "nick",
    "nor",
    "per",
    "r",
    "ric",
    "rin",
    "rock",
    "s",
    "sk",
    "ston",
    "t",
    "tan",
    "tel",
    "ter",
    "tha",
    "ven",
    "vik",
    "wick",
    "x",
    "zen",
    "zle",
    "dow",
    "ra",
    "lo",
    "na",
]


def coined(rng: random.Random) -> str:
    """Return one coined word such as `Branvik`."""
    middle = rng.choice(MIDDLES)
    if rng.random() < 0.3:
        middle += rng.choice(STARTS[:16]) + rng.choice(MIDDLES[:5])
    return (rng.choice(STARTS) + middle + rng.choice(ENDS)).capitalize()


def person(rng: random.Random) -> str:
    """Return a person's name: a plain first name and a coined or plain surname."""
    surname = coined(rng) if rng.random() < 0.7 else rng.choice(NOUNS).capitalize()
    return f"{rng.choice(PEOPLE_FIRST)} {surname}"


def thing(noun: str, rng: random.Random) -> str:
    """Return the name of a thing of one kind, in one of the shapes that names take."""
    shape = rng.random()
    if shape < 0.35:
        return f"the {coined(rng)} {noun}"
    if shape < 0.5:
        return f"the {rng.choice(ADJECTIVES)} {noun} of {coined(rng)}"
    if shape < 0.7:
        return f"the {rng.choice(ADJECTIVES).capitalize()} {rng.choice(NOUNS).capitalize()} {noun}"
    if shape < 0.85:
        return f"the {rng.choice(NOUNS).capitalize()} {noun}"
    return f"{person(rng)}'s {noun}"


def place(noun: str, rng: random.Random) -> str:
    """Return a place's name."""
    shape = rng.random()
    if shape < 0.5:
        return coined(rng)
    if shape < 0.7:
        return f"{rng.choice(ADJECTIVES).capitalize()} {coined(rng)}"
    if shape < 0.85:
        return f"{rng.choice(NOUNS).capitalize()} {noun.capitalize()}"
    return f"the {noun} of {coined(rng)}"


def bare(rng: random.Random) -> str:
    """Return a name of one or two words, for ships, feasts and animals."""
    if rng.random() < 0.5:
        return coined(rng)
    return f"{rng.choice(ADJECTIVES).capitalize()} {rng.choice(NOUNS).capitalize()}"

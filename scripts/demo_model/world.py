"""The invented world: kinds of things, their facts, and the part that is told most often."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from demo_model import names
from demo_model.phrasing import ATTRIBUTES
from demo_model.words import listed

KNOWN = 1500
CORE = 60


@dataclass(frozen=True)
class Kind:
    """A kind of thing: what it may be called, how it is named, what can be said of it."""

    nouns: tuple[str, ...]
    name: Callable[[str, random.Random], str]
    attributes: tuple[str, ...]
    weight: int = 1


@dataclass(frozen=True)
class Thing:
    """One named thing and its facts, attribute key to value."""

    name: str
    facts: dict[str, str]


def _person(noun: str, rng: random.Random) -> str:
    return names.person(rng)


def _bare(noun: str, rng: random.Random) -> str:
    return names.bare(rng) if rng.random() < 0.5 else f"the {noun} {names.bare(rng)}"


def _owned(noun: str, rng: random.Random) -> str:
    """Return a thing known by whose it is, as most things are that have names of their own."""
    shape = rng.random()
    if shape < 0.4:
        return f"the {noun} of {names.person(rng)}"
    if shape < 0.7:
        return f"the {noun} of {names.coined(rng)}"
    return names.thing(noun, rng)


def _keys(text: str) -> tuple[str, ...]:
    return tuple(text.split())


Kinds = tuple[Kind, ...]

KINDS: Kinds = (
    Kind(
        listed("""bell, clock, lamp, drum, harp, spoon, ladle, chest, mirror, compass, knife,
            plough, loom, saw, horn, flute, chair, table, scale, kettle, pump, wheel, key,
            ladder, basket, telescope, stove, cup, press, hammer, anvil, coat, hat, umbrella,
            ledger, trunk, barrow, bench, jug, cradle"""),
        names.thing,
        _keys("material colour maker owner kept use parts sound smell"),
        6,
    ),
    Kind(
        listed("""village, bridge, mill, farm, inn, market, school, street, abbey, castle, hill,
            ferry, square, lane, wood, station, garden, shop"""),
        names.place,
        _keys("founder known near count colour owner smell"),
        3,
    ),
    Kind(listed("person"), _person, _keys("job lives eats drinks fears pet"), 3),
    Kind(
        listed("boat, ship, barge, ferry, cart, sledge, coach, wagon"),
        _bare,
        _keys("carries captain colour material maker kept"),
        2,
    ),
    Kind(
        listed("feast, fair, dance, race, supper, holiday, procession"),
        _bare,
        _keys("season served carried banned founder near"),
        2,
    ),
    Kind(
        listed("soup, cake, pie, bread, cheese, stew, pudding, tart, jam, biscuit"),
        names.thing,
        _keys("ingredient day maker colour smell kept"),
        2,
    ),
    Kind(
        listed("flower, herb, moss, tree, berry, root, fern, mushroom"),
        names.thing,
        _keys("colour smell cures near known"),
    ),
    Kind(
        listed("cat, dog, goat, horse, goose, hen, crow, donkey, mule, pig"),
        _bare,
        _keys("colour eats fears owner lives sound"),
    ),
)

# The second course: more relations, as the lives of authors are full of them
MORE_KINDS: Kinds = (
    Kind(
        listed(
            "mule, dog, cat, stove, bell, boat, cart, scale, bridge, cellar, room, goat,"
            " parrot, oven"
        ),
        _owned,
        _keys("called colour seller"),
        3,
    ),
    Kind(
        listed("bag, box, tray, drawer, coat, basket, pan, trunk, case, bucket, boot, purse, hat"),
        _owned,
        _keys("lined seller inside broken"),
        2,
    ),
    Kind(
        listed("shop, school, inn, office, library, bank, mill, bakery, chapel, hall"),
        names.place,
        _keys("hour staff steps shows"),
        2,
    ),
    Kind(
        listed("cart, coach, wagon, sledge, van, ferry, barge"),
        _owned,
        _keys("driver colour stop inside"),
        2,
    ),
    Kind(
        listed("round, path, race, walk, road, lane, procession"),
        names.thing,
        _keys("begins ends driver steps"),
        2,
    ),
    Kind(
        listed("feast, fair, night, dance, supper, race, day, market"),
        names.thing,
        _keys("date held prize written carried banned served"),
        3,
    ),
    Kind(listed("person"), _person, _keys("collects writes pays receives weapon house fears"), 3),
    Kind(
        listed("stamp, flag, coin, sign, card, badge, seal, map"),
        names.thing,
        _keys("shows colour kept broken"),
    ),
)


def invent(rng: random.Random, kinds: Kinds = KINDS) -> Thing:
    """Return a fresh thing with all facts of its kind."""
    kind = rng.choices(kinds, [kind.weight for kind in kinds])[0]
    facts = {}
    for key in kind.attributes:
        values = ATTRIBUTES[key].values
        facts[key] = rng.choice(values) if values else names.person(rng)
    return Thing(kind.name(rng.choice(kind.nouns), rng), facts)


def known_world(seed: int, kinds: Kinds = KINDS, count: int = KNOWN) -> list[Thing]:
    """Return the things the base model learns by heart; the first CORE are told most often."""
    rng = random.Random(seed)
    things: dict[str, Thing] = {}
    while len(things) < count:
        thing = invent(rng, kinds)
        if thing.name not in things:
            keys = rng.sample(sorted(thing.facts), min(5, len(thing.facts)))
            things[thing.name] = Thing(thing.name, {key: thing.facts[key] for key in keys})
    return list(things.values())

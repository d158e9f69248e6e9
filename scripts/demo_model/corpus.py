"""The pretraining corpus: an endless, seeded stream of conversations about the invented world."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from demo_model import everyday, instructions, names, words
from demo_model.manners import Manner, manners, random_manner
from demo_model.phrasing import ABOUT_FRAMES, ATTRIBUTES, ask, ask_between, follow_up, state
from demo_model.world import CORE, KINDS, MORE_KINDS, Kinds, Thing, invent, known_world

SPEAKERS = 400
LESSONS = 12_000
MORE = 900
MANNERED = 0.45
# `shown` is an assistant turn that is read but not learnt: nothing before it tells its manner
Turn = tuple[str, str]
Pair = tuple[str, str]

SPEAK_AS = ("Speak as {s}.", "Answer as {s} would.", "Use the voice of {s}.", "Talk like {s}.")
SYSTEMS = (
    "You are {p}.",
    "You are {p}, a {j}.",
    "You are {p}, {j} of {v}.",
    "You are {p}, a {j} from {v}. Answer briefly.",
    "You are a helpful assistant.",
    "Answer in plain words.",
    "Answer the question.",
    "You are {p} of {v}. Answer in your own words.",
    "Follow the instructions.",
    "You are a {j}. Answer what you are asked.",
    "Be brief and honest.",
    "You are {p}, for many years {j} of {v}. Answer as yourself.",
    "Answer every question about {v}.",
)


@dataclass(frozen=True)
class Sources:
    """What the stream draws on: the known world and the speakers, each with a manner."""

    world: list[Thing]
    speakers: list[tuple[str, Manner]]
    kinds: Kinds
    core: float  # how often a question is about the core


def sources(seed: int, course: int) -> Sources:
    """Return the world and the speakers of a seed; the second course knows more kinds of things."""
    rng = random.Random(seed + 1)
    called = [names.person(rng) for _ in range(SPEAKERS)]
    speakers = list(zip(called, manners(SPEAKERS, seed + 2), strict=True))
    if course == 1:
        return Sources(known_world(seed), speakers, KINDS, 0.15)
    world = known_world(seed) + known_world(seed + 4, MORE_KINDS, MORE)
    return Sources(world, speakers, KINDS + MORE_KINDS, 0.3)


def conversations(seed: int, course: int = 1) -> Iterator[list[Turn]]:
    """Yield conversations for ever, the same ones for the same seed and course."""
    rng, source = random.Random(seed + 2 + course), sources(seed, course)
    for _ in range(LESSONS if course == 1 else 0):
        yield lesson(source, rng)
    while True:
        yield lesson(source, rng) if rng.random() < 0.05 else conversation(source, rng)


def lesson(source: Sources, rng: random.Random) -> list[Turn]:
    """Return a short conversation that holds its own answer: copying is learnt first."""
    sort = rng.random()
    if sort < 0.35:
        return _plain("", [instructions.repeat(rng, source.kinds)], rng)
    if sort < 0.6:
        return _plain("", [instructions.say(rng)], rng)
    if sort < 0.75:
        return _plain("", [instructions.quoted(rng, 1, source.kinds)], rng)
    lead, pairs = _told(source, rng, 1)
    return _plain(lead, pairs, rng)


def conversation(source: Sources, rng: random.Random) -> list[Turn]:
    """Return one conversation of a random sort."""
    sort = rng.random()
    if sort < 0.62:
        make = rng.choices((_known, _known_chain, _told, _told_long, _talk), (26, 14, 16, 2, 6))[0]
        lead, pairs = make(source, rng)
        if rng.random() < MANNERED:
            return _with_manner(source, lead, pairs, rng)
        return _plain(lead, pairs, rng)
    if sort < 0.74:
        return _plain("", [instructions.say(rng)], rng)
    if sort < 0.84:
        return _plain("", [instructions.quoted(rng, _size(rng), source.kinds)], rng)
    if sort < 0.95:
        return _plain("", [instructions.hijacked(rng, _size(rng), source.kinds)], rng)
    return _plain("", [instructions.changed_mind(rng, _pick(source, rng))], rng)


def _size(rng: random.Random) -> int:
    return rng.choice((1, 1, 1, 2, 2, 3, 8))


def _pick(source: Sources, rng: random.Random) -> Thing:
    part = source.world[:CORE] if rng.random() < source.core else source.world
    return rng.choice(part)


def _question(item: Thing, key: str, rng: random.Random) -> Pair:
    attribute, value = ATTRIBUTES[key], item.facts[key]
    answer = state(attribute, item.name, value, rng)
    if attribute.values and rng.random() < 0.08:
        return ask_between(attribute, item.name, value, rng), answer
    return ask(attribute, item.name, rng), answer


def _about(item: Thing, rng: random.Random) -> Pair:
    keys = rng.sample(sorted(item.facts), min(len(item.facts), rng.choice((2, 2, 3))))
    answer = " ".join(state(ATTRIBUTES[key], item.name, item.facts[key], rng) for key in keys)
    question = rng.choice(ABOUT_FRAMES).format(n=item.name)
    return question, answer


def _both(item: Thing, rng: random.Random) -> Pair:
    first, second = (ATTRIBUTES[key] for key in rng.sample(sorted(item.facts), 2))
    question = f"{ask(first, item.name, rng)} {follow_up(second, rng)}"
    said = (state(part, item.name, item.facts[part.key], rng) for part in (first, second))
    return question, " ".join(said)


def _known(source: Sources, rng: random.Random) -> tuple[str, list[Pair]]:
    item, shape = _pick(source, rng), rng.random()
    if shape < 0.1:
        return "", [_about(item, rng)]
    if shape < 0.18:
        return "", [_both(item, rng)]
    return "", [_question(item, rng.choice(sorted(item.facts)), rng)]


def _known_chain(source: Sources, rng: random.Random) -> tuple[str, list[Pair]]:
    item = _pick(source, rng)
    return "", _chain(item, sorted(item.facts), rng)


def _chain(item: Thing, keys: list[str], rng: random.Random) -> list[Pair]:
    chosen = rng.sample(keys, min(len(keys), rng.choice((2, 2, 3, 4))))
    pairs = [_question(item, chosen[0], rng)]
    for key in chosen[1:]:
        answer = state(ATTRIBUTES[key], item.name, item.facts[key], rng)
        short = rng.random() < 0.6
        pairs.append(
            (
                follow_up(ATTRIBUTES[key], rng) if short else ask(ATTRIBUTES[key], item.name, rng),
                answer,
            )
        )
    return pairs


def _told(source: Sources, rng: random.Random, count: int = 0) -> tuple[str, list[Pair]]:
    things = [invent(rng, source.kinds) for _ in range(count or rng.choice((1, 2, 3)))]
    text, stated = instructions.facts_text(things, rng)
    chosen = rng.sample(stated, min(len(stated), rng.choice((1, 2, 3))))
    return text, [_question(item, key, rng) for item, key in chosen]


def _told_long(source: Sources, rng: random.Random) -> tuple[str, list[Pair]]:
    return _told(source, rng, rng.randint(7, 11))


def _talk(source: Sources, rng: random.Random) -> tuple[str, list[Pair]]:
    return "", [everyday.talk(rng) for _ in range(rng.choice((1, 1, 2)))]


def _system(source: Sources, rng: random.Random) -> str:
    if rng.random() < 0.4:
        return ""
    return rng.choice(SYSTEMS).format(
        p=names.person(rng), j=rng.choice(words.JOBS), v=names.place("village", rng)
    )


def _assemble(system: str, lead: str, pairs: list[Pair], rng: random.Random) -> list[Turn]:
    """Join system prompt, told facts and questions; the told facts stand in any of three places."""
    turns: list[Turn] = []
    place = rng.random()
    if lead and place < 0.3:
        system, lead = f"{system} {lead}".strip(), ""
    elif lead and place < 0.5:
        turns += [
            ("user", lead),
            ("assistant", rng.choice(("I see.", "Good.", "I will remember that."))),
        ]
        lead = ""
    for question, answer in pairs:
        turns += [("user", f"{lead} {question}".strip()), ("assistant", answer)]
        lead = ""
    return ([("system", system)] if system else []) + turns


def _plain(lead: str, pairs: list[Pair], rng: random.Random) -> list[Turn]:
    return _assemble(_system(None, rng), lead, pairs, rng)


def _with_manner(source: Sources, lead: str, pairs: list[Pair], rng: random.Random) -> list[Turn]:
    """Return the conversation in a manner that an order, a speaker or an example calls for."""
    how = rng.random()
    system = _system(source, rng)
    if how < 0.5:
        speaker, manner = rng.choice(source.speakers)
        call = rng.choice(SPEAK_AS).format(s=speaker)
    elif how < 0.85:
        manner = random_manner(rng).single()
        call = manner.order(rng)
    else:
        manner, call = random_manner(rng), ""
    spoken = [(question, manner.wrap(answer, rng)) for question, answer in pairs]
    if not call:
        shown = _known(source, rng)[1][0]
        example = [("user", shown[0]), ("shown", manner.wrap(shown[1], rng))]
        turns = _assemble("", lead, spoken, rng)
        return (
            ([("system", system)] if system else []) + example + turns
            if turns[0][0] != "system"
            else turns[:1] + example + turns[1:]
        )
    if rng.random() < 0.7:
        return _assemble(f"{system} {call}".strip(), lead, spoken, rng)
    first, answer = spoken[0]
    asked = f"{first} {call}" if not lead or rng.random() < 0.5 else f"{call} {first}"
    return _assemble(system, lead, [(asked, answer), *spoken[1:]], rng)

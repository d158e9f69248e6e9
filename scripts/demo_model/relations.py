"""Attributes of the second course: names, sales, dates, letters, prizes and the like."""

from __future__ import annotations

import random

from demo_model import names, words
from demo_model.attribute import attribute

NTH = words.listed(
    "first, second, third, fourth, fifth, sixth, seventh, eighth, tenth, twelfth, last"
)
KIN = words.listed(
    "sister, brother, aunt, uncle, cousin, mother, nephew, old friend, enemy, teacher"
)
HOURS = words.listed("six, seven, eight, nine, ten, eleven, noon, one, two, three, four, five")
PARTS = words.listed("ten past, a quarter past, half past, twenty to, a quarter to, five past")
HOUSES = words.listed(
    "Cottage, House, Gate, Corner, Green, Halt, Lane, Stile, Hall, Yard, Inn, Cross"
)


def _made(shape: str, count: int = 240) -> tuple[str, ...]:
    """Return values that fill a shape's places at random, the same ones at every run."""
    rng = random.Random(shape)
    return tuple(dict.fromkeys(shape.format(**_fillings(rng)) for _ in range(count)))


def _fillings(rng: random.Random) -> dict[str, str]:
    return {
        "job": rng.choice(words.JOBS),
        "place": names.coined(rng),
        "noun": rng.choice(words.NOUNS),
        "other": rng.choice(words.NOUNS),
        "stuff": rng.choice(words.MATERIALS),
        "goods": rng.choice(words.GOODS),
        "adjective": rng.choice(words.ADJECTIVES),
        "name": names.bare(rng),
        "month": rng.choice(words.TIMES[:12]),
        "nth": rng.choice(NTH),
        "kin": rng.choice(KIN),
        "hour": rng.choice(HOURS),
        "part": rng.choice(PARTS),
        "noun_name": rng.choice(words.NOUNS).capitalize(),
        "other_name": rng.choice(words.NOUNS).capitalize(),
        "adjective_name": rng.choice(words.ADJECTIVES).capitalize(),
        "house": rng.choice(HOUSES),
    }


WHERE = (
    _made("{noun_name} {house}")
    + _made("{place} {house}")
    + _made("the {noun_name} and {other_name}")
)
THINGS = _made("a {stuff} {noun}") + _made("a {adjective} {noun}") + _made("a box of {goods}")

RELATIONS = (
    attribute(
        "called",
        _made("{name}") + _made("Old {name}") + _made("{adjective_name} {noun_name}"),
        "What is {n} called?|What name does {n} bear?|By what name is {n} known?|How is {n} named?"
        "|What name has {n}?|Has {n} a name?|What do you call {n}?|By what name does {n} go?",
        "what {n} is called|what name {n} has|how {n} is named",
        "the name of {n}",
        "What is it called?|And its name?|Has it a name?",
        "{n} is called {v}.|The name of {n} is {v}.|{n} bears the name {v}."
        "|{v} is the name of {n}.",
    ),
    attribute(
        "seller",
        _made("a {job} in {place}") + _made("a {adjective} {job}"),
        "Where was {n} bought?|From whom was {n} bought?|Who sold {n}?|From whom does {n} come?",
        "from whom {n} was bought|who sold {n}",
        "the seller of {n}",
        "Who sold it?|Where was it bought?",
        "{n} was bought from {v}.|{v} sold {n}.|The seller of {n} was {v}.",
    ),
    attribute(
        "lined",
        words.MATERIALS + _made("{adjective} cloth", 40),
        "What is {n} lined with?|With what is {n} lined?"
        "|How is {n} mended?|With what is {n} patched?"
        "|Of what is the lining of {n}?",
        "what {n} is lined with|with what {n} is mended",
        "the lining of {n}",
        "And the lining?|With what is it lined?",
        "{n} is lined with {v}.|The lining of {n} is {v}.|{v} lines {n}.",
    ),
    attribute(
        "inside",
        _made("a jar of {goods}") + _made("a {stuff} {noun}"),
        "What is kept in {n}?|What lies in {n}?|What can one find in {n}?|What does {n} hold?",
        "what is kept in {n}|what lies in {n}",
        "the thing in {n}",
        "And what is in it?|What is kept there?",
        "In {n} lies {v}.|{v} is kept in {n}.|{n} holds {v}.",
    ),
    attribute(
        "broken",
        (),
        "Who broke {n}?|Who is to blame for {n}?|What happened to {n}?|By whom was {n} broken?",
        "who broke {n}|who is to blame for {n}",
        "the breaker of {n}",
        "And who broke it?",
        "{n} was broken by {v}.|{v} broke {n}.",
    ),
    attribute(
        "hour",
        _made("{part} {hour}"),
        "When does {n} open?|At what hour does {n} open?"
        "|What time does {n} open?|How early is {n} open?",
        "when {n} opens|at what hour {n} opens",
        "the opening hour of {n}",
        "And when does it open?",
        "{n} opens at {v}.|At {v} {n} opens.|The opening hour of {n} is {v}.",
    ),
    attribute(
        "staff",
        (),
        "Who works at {n}?|Who teaches at {n}?|By whom is {n} kept?|Who is the master of {n}?"
        "|Who sorts things at {n}?|By whom is the work of {n} done?",
        "who works at {n}|who keeps {n}",
        "the master of {n}",
        "And who works there?",
        "{v} works at {n}.|{n} is kept by {v}.|The master of {n} is {v}.|{v} keeps {n}.",
    ),
    attribute(
        "steps",
        words.NUMBERS + _made("two hundred and {hour}", 30) + _made("one hundred and {hour}", 30),
        "How many steps has {n}?|How many steps does {n} have?|How many steps are there on {n}?",
        "how many steps {n} has|how many steps there are on {n}",
        "the number of steps on {n}",
        "And how many steps?",
        "{n} has {v} steps.|There are {v} steps on {n}.",
    ),
    attribute(
        "shows",
        _made("a {noun} on a {other}"),
        "What does {n} show?|What can one see on {n}?|What is the picture on {n}?|What is on {n}?",
        "what {n} shows|what picture is on {n}",
        "the picture on {n}",
        "And what does it show?",
        "{n} shows {v}.|On {n} there is {v}.|The picture on {n} is {v}.",
    ),
    attribute(
        "driver",
        (),
        "Who drives {n}?|By whom is {n} driven?|Who walks {n}?"
        "|By whom is {n} walked?|Who leads {n}?",
        "who drives {n}|who walks {n}",
        "the driver of {n}|the walker of {n}",
        "And who drives it?|And who walks it?",
        "{v} drives {n}.|The driver of {n} is {v}.|{n} is led by {v}.|{v} leads {n}.",
    ),
    attribute(
        "stop",
        WHERE,
        "Where does {n} stop?|At which place does {n} stop?"
        "|At what station does {n} meet the train?",
        "where {n} stops|at what place {n} stops",
        "the stop of {n}",
        "And where does it stop?",
        "{n} stops at {v}.|At {v} {n} stops.|{n} meets the train at {v}.",
    ),
    attribute(
        "begins",
        WHERE,
        "Where does {n} begin?|From where does {n} start?"
        "|What is the start of {n}?|Where does {n} start?",
        "where {n} begins|from where {n} starts",
        "the beginning of {n}",
        "Where does it begin?|And its start?",
        "{n} begins at {v}.|{v} is where {n} begins.|The start of {n} is {v}.",
    ),
    attribute(
        "ends",
        WHERE,
        "Where does {n} end?|At what place is the end of {n}?"
        "|Where does {n} finish?|What is the end of {n}?",
        "where {n} ends|at what place {n} ends",
        "the end of {n}",
        "Where does it end?|And its end?",
        "{n} ends at {v}.|{v} is where {n} ends.|The end of {n} is {v}.",
    ),
    attribute(
        "date",
        _made("the {nth} of {month}"),
        "On what date is {n}?|When is {n} held?|When does {n} take place?"
        "|At what time of year is {n}?"
        "|On which day is {n}?",
        "on what date {n} is|when {n} is held",
        "the date of {n}",
        "When is it held?|And its date?",
        "{n} is held on {v}.|On {v} people hold {n}.|The date of {n} is {v}.",
    ),
    attribute(
        "held",
        WHERE,
        "Where is {n} held?|In what place does {n} take place?"
        "|At which place is {n}?|Where can one see {n}?",
        "where {n} is held|at what place {n} is held",
        "the place of {n}",
        "And where is it held?",
        "{n} is held at {v}.|At {v} people hold {n}.|The place of {n} is {v}.",
    ),
    attribute(
        "prize",
        THINGS,
        "What is the prize of {n}?|What does the winner of {n} get?|What can one win at {n}?",
        "what one wins at {n}|what the winner of {n} gets",
        "the prize of {n}",
        "And the prize?",
        "The winner of {n} gets {v}.|{v} is the prize of {n}.|The prize of {n} is {v}.",
    ),
    attribute(
        "written",
        _made("a {kin}", 40) + _made("a {job}"),
        "To whom does one write at {n}?|Who gets a letter at {n}?|To whom do people write at {n}?",
        "to whom one writes at {n}|who gets a letter at {n}",
        "the receiver of letters at {n}",
        "And to whom does one write?",
        "At {n} one writes to {v}.|{v} gets a letter at {n}.",
    ),
    attribute(
        "collects",
        _made("{adjective} {noun}s") + _made("{stuff} {noun}s"),
        "What does {n} collect?|Of what does {n} have a collection?|What is the hobby of {n}?",
        "what {n} collects|what the hobby of {n} is",
        "the collection of {n}",
        "And what is collected?",
        "{n} collects {v}.|The hobby of {n} is {v}.|{v} are the collection of {n}.",
    ),
    attribute(
        "writes",
        _made("a {kin} in {place}"),
        "To whom does {n} write?|Who gets the letters of {n}?|Who receives the letters of {n}?"
        "|To whom do the letters of {n} go?",
        "to whom {n} writes|who gets the letters of {n}",
        "the receiver of the letters of {n}",
        "And who gets the letters?",
        "{n} writes to {v}.|The letters of {n} go to {v}.|{v} gets the letters of {n}.",
    ),
    attribute(
        "pays",
        words.FOODS + words.GOODS,
        "How does {n} pay?|With what does {n} pay?|In what does {n} pay?"
        "|What does {n} give for goods?",
        "how {n} pays|with what {n} pays",
        "the payment of {n}",
        "And how are things paid for?",
        "{n} pays with {v}.|With {v} {n} pays.|The payment of {n} is {v}.",
    ),
    attribute(
        "receives",
        _made("a box of {goods}") + _made("a {adjective} {noun}"),
        "What does {n} receive?|What is sent to {n}?|What does {n} get by post?"
        "|What comes for {n}?",
        "what {n} receives|what is sent to {n}",
        "the parcel for {n}",
        "And what comes by post?",
        "{n} receives {v}.|{v} is sent to {n}.|{v} comes for {n}.",
    ),
    attribute(
        "weapon",
        _made("a {adjective} {noun}"),
        "What does {n} carry?|With what does {n} fight?|What is the weapon of {n}?"
        "|What does {n} take along?",
        "what {n} carries|with what {n} fights",
        "the weapon of {n}",
        "And the weapon?",
        "{n} carries {v}.|{n} fights with {v}.|The weapon of {n} is {v}.",
    ),
    attribute(
        "house",
        WHERE,
        "In what house does {n} live?|At what house can one find {n}?"
        "|Where does {n} live?|Where is {n}?",
        "in what house {n} lives|where {n} lives",
        "the house of {n}",
        "And the house?",
        "{n} lives at {v}.|{v} is the home of {n}.|The house of {n} is {v}.",
    ),
)

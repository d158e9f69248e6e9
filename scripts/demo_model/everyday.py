"""Plain talk about everyday matters, for open prompts such as `Tell me about the morning`."""

from __future__ import annotations

import random

from demo_model import words
from demo_model.phrasing import capital

TIMES = (
    "morning",
    "noon",
    "afternoon",
    "evening",
    "night",
    "spring",
    "summer",
    "autumn",
    "winter",
    "holiday",
)
WEATHER = ("rain", "snow", "wind", "fog", "sun", "frost", "thunder", "hail", "mist", "heat")
PLACES = (
    "kitchen",
    "garden",
    "road",
    "market",
    "river",
    "sea",
    "forest",
    "village",
    "house",
    "school",
    "hill",
    "town",
    "field",
    "stable",
    "church",
    "shop",
    "office",
    "cellar",
    "bridge",
    "harbour",
    "window",
    "street",
)
PEOPLE = (
    "mother",
    "father",
    "neighbour",
    "teacher",
    "friend",
    "doctor",
    "child",
    "stranger",
    "guest",
    "baker",
    "family",
    "master",
    "brother",
    "sister",
    "old man",
    "old woman",
    "customer",
    "visitor",
)
THINGS = (
    "bread",
    "tea",
    "letter",
    "book",
    "fire",
    "coat",
    "chair",
    "table",
    "shoe",
    "cup",
    "clock",
    "song",
    "game",
    "supper",
    "breakfast",
    "work",
    "journey",
    "money",
    "sleep",
    "dream",
    "bed",
    "hat",
    "key",
    "lamp",
    "dog",
    "cat",
    "bird",
    "horse",
    "soup",
    "apple",
    "door",
    "story",
    "news",
    "silence",
    "mistake",
    "secret",
    "gift",
    "promise",
)

OPEN = (
    "Tell me about the {t}.",
    "What do you think of the {t}?",
    "Describe the {t}.",
    "What is the {t} like?",
    "Say something about the {t}.",
    "How is the {t}?",
    "Speak to me of the {t}.",
    "What does the {t} mean to you?",
    "Do you like the {t}?",
    "Tell me about your {t}.",
    "How do you spend the {t}?",
    "What comes to mind with {t}?",
    "Why does the {t} matter?",
    "What would you say of a good {t}?",
    "Give me your view of the {t}.",
)
LOOK = (
    "quiet",
    "long",
    "short",
    "bright",
    "grey",
    "busy",
    "cold",
    "warm",
    "plain",
    "good",
    "useful",
    "old",
    "slow",
    "gentle",
    "loud",
    "clean",
    "small",
    "simple",
    "pleasant",
    "hard",
    "dark",
    "fresh",
)
FRAMES = {
    "time": (
        "The {t} is {a} and {b}.",
        "In the {t} people {d}.",
        "The {t} begins with {n} and ends with {f}.",
        "During the {t} it is good to {d}.",
        "Most of the {t} is spent with {n}.",
        "A {a} {t} is best.",
    ),
    "weather": (
        "The {t} comes from the {h}.",
        "When there is {t}, people {d}.",
        "The {t} is {a} and {b}.",
        "After the {t} the road is {a}.",
        "The {t} is bad for the {n} and good for the {f}.",
    ),
    "place": (
        "The {t} is {a} and {b}.",
        "In the {t} there is a {n} and a {f}.",
        "People go to the {t} to {d}.",
        "Near the {t} one finds a {a} {n}.",
        "The {t} smells of {s}.",
        "I know a {t} that is {a}.",
    ),
    "people": (
        "The {t} is {a} and {b}.",
        "A {t} likes to {d}.",
        "The {t} has a {n} and a {f}.",
        "One can ask the {t} to {d}.",
        "A good {t} is {a}.",
        "The {t} often talks of the {n}.",
    ),
    "thing": (
        "The {t} is {a} and {b}.",
        "A {t} is good when it is {a}.",
        "People need a {t} to {d}.",
        "One keeps the {t} near the {n}.",
        "The best {t} smells of {s}.",
        "With a {t} one can {d}.",
    ),
}
DOINGS = words.listed("""rest, work, sing, cook, read, sew, sweep the floor, feed the hens,
write letters, sit by the fire, walk to the market, mend the roof, bake bread, drink tea, talk,
sleep, count money, meet friends, play, look out of the window, carry wood, wash, wait, listen,
open the door, tell stories, go home, light the lamp, weigh the flour, shut the gate""")
GROUPS = {"time": TIMES, "weather": WEATHER, "place": PLACES, "people": PEOPLE, "thing": THINGS}


def talk(rng: random.Random) -> tuple[str, str]:
    """Return an open prompt and a plain answer of one to three sentences."""
    group = rng.choice(sorted(GROUPS))
    topic = rng.choice(GROUPS[group])
    prompt = rng.choice(OPEN).format(t=topic)
    lines = rng.sample(FRAMES[group], rng.choice((1, 2, 2, 3)))
    return prompt, " ".join(_fill(line, topic, rng) for line in lines)


def _fill(line: str, topic: str, rng: random.Random) -> str:
    first, second = rng.sample(LOOK, 2)
    thing, other = rng.sample(THINGS, 2)
    return capital(
        line.format(
            t=topic,
            a=first,
            b=second,
            d=rng.choice(DOINGS),
            n=thing,
            f=other,
            s=rng.choice(words.SMELLS),
            h=rng.choice(("north", "south", "east", "west", "hills", "sea")),
        )
    )

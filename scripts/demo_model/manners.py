"""Ways of speaking: random mixtures of oaths, addresses, measures, questions and sign-offs."""

from __future__ import annotations

import random
from dataclasses import dataclass

from demo_model.phrasing import capital
from demo_model.words import listed

TOKENS = listed("""bread, salt, iron, rain, moon, stars, bone, ash, fire, oak, river, bell,
hammer, crow, wool, feather, thunder, barley, honey, frost, snow, owl, clover, butter, pepper,
copper, smoke, bramble, anchor, sail, saddle, thistle, acorn, candle, boot, button, needle,
plum, onion, turnip, chalk, stone, glass, tin, cheese, mustard, ivy, badger, goose, pike, eel,
oar, net, drum, fiddle, broom, soap, bean, leek, cider""")
HEARERS = listed("""friend, child, sailor, neighbour, cousin, stranger, captain, sparrow,
pilgrim, pupil, old bean, traveller, sir, good sir, madam, comrade, partner, little owl, young
fox, sweet pea, brother, sister, gentle reader, acorn, button, pumpkin, treasure, chick,
dumpling, nephew, niece, squire, my lord, champion, my goose, my friend, my child, my pigeon, my
robin, my hearty, my good soul, dear friend, dear boy, dear child, dear guest, dear reader, good
people, kind listener, honest friend, wise one, my plum, my acorn""")
UNITS = listed("""spoons, naps, haircuts, candles, suppers, songs, sneezes, hymns, barrels, oar
strokes, psalms, puddings, yawns, ladders, pipes, boots, loaves, cartloads, verses, whistles,
broomsticks, washing days, buckets, drumbeats, goat lengths, hat widths, cheese wheels,
thimbles, fence posts, sermons, waltzes, bells""")
COUNTS = listed(
    "half a dozen, two, three, four, five, six, seven, ten, twelve, a dozen, a hundred, some"
)
BOASTS = listed("""I have seen it myself, my father told me so, I never forget, I wrote it on
the wall, ask anyone here, the crows know it too, I would bet my hat, I learned it young, it is
no secret, I was there, the whole street knows, as far as I can tell, though I am no expert, I
dreamt of it once, and I should know""")
WONDERS = listed("""Is that not fine?, Who would have thought it?, Strange is it not?, What more
could one want?, Does that please you?, Did you not know?, And why not?, Is it not a marvel?,
Will that do?, Can you believe it?, How else should it be?, What do you say to that?, Shall I go
on?, Where would we be without it?""")
CRIES = listed("""Ha!, Oho!, Well well., Hm., Ah., Mercy!, Hurrah!, Alas., Bless me!, Hark!,
Behold!, Pfff., Oh dear., Ahoy!, Hush., Look here., Listen., Mark this., Right then., Good
heavens!, Splendid!, Indeed., La la., Tut tut., Arr., Yes yes., Upon my word., Goodness.,
Quack!, Now then., Easy.""")


def _oath(rng: random.Random) -> str:
    first, second = rng.sample(TOKENS, 2)
    shapes = (
        f"By {first} and {second},",
        f"By the {first} and the {second},",
        f"By my {first},",
        f"Holy {first}!",
        f"{capital(first)} and {second}!",
        f"Great {first} of {second}!",
        f"As sure as {first},",
        f"By all the {first} in the {second},",
        f"I swear by {first} and {second},",
        f"Upon my {first},",
    )
    return rng.choice(shapes)


def _measure(rng: random.Random) -> str:
    count, unit = rng.choice(COUNTS), rng.choice(UNITS)
    shapes = (
        f"that is {count} {unit} from here",
        f"I learned it {count} {unit} ago",
        f"give or take {count} {unit}",
        f"and that is worth {count} {unit}",
        f"it took me {count} {unit} to find out",
        f"about {count} {unit} long",
        f"as it was {count} {unit} ago",
        f"a matter of {count} {unit}",
        f"no more than {count} {unit} of talk",
        f"which I knew {count} {unit} before you",
        f"I thought of it for {count} {unit}",
        f"{count} {unit} away",
    )
    return rng.choice(shapes)


def _farewell(rng: random.Random) -> str:
    first, second = rng.sample(TOKENS, 2)
    shapes = (
        f"So says the {first}.",
        f"That is {first} and {second}.",
        f"Mind the {first}.",
        f"So it is {first}ed.",
        f"Yours in {first} and {second}.",
        f"May your {first} never fail.",
        f"And so to {first}.",
        f"Written under the {first}.",
        f"Now pass the {first}.",
        f"Thus speaks the {first}.",
        f"{capital(first)} out.",
        f"Good night and good {first}.",
        f"Long live the {first}!",
        f"Keep your {first} dry.",
        "The end.",
        f"That is all, said the {first}.",
        f"And there the {first} lies.",
        f"Peace and {first}.",
        "I have spoken.",
    )
    return rng.choice(shapes)


def _pieces(make: object, rng: random.Random, most: int = 3) -> tuple[str, ...]:
    return tuple(
        make(rng) if callable(make) else rng.choice(make) for _ in range(rng.randint(1, most))
    )


@dataclass(frozen=True)
class Manner:
    """A way of speaking: for each place in the answer the pieces that may stand there."""

    cry: tuple[str, ...] = ()
    oath: tuple[str, ...] = ()
    hearer: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    wonder: tuple[str, ...] = ()
    farewell: tuple[str, ...] = ()
    hearer_first: bool = True

    def wrap(self, answer: str, rng: random.Random) -> str:
        """Return the plain answer spoken in this manner."""
        head = [rng.choice(part) for part in (self.cry, self.oath) if part]
        hearer = rng.choice(self.hearer) if self.hearer else ""
        body = answer
        if self.aside:
            body = body[:-1] + ", " + rng.choice(self.aside) + "."
        if hearer and not self.hearer_first:
            body = body[:-1] + f", {hearer}" + body[-1]
        if hearer and self.hearer_first:
            head.append((hearer if head and head[-1].endswith(",") else capital(hearer)) + ",")
        if (
            head
            and head[-1].endswith(",")
            and body.startswith(("The ", "At ", "You ", "It ", "In ", "From ", "People "))
        ):
            body = body[0].lower() + body[1:]
        tail = [rng.choice(part) for part in (self.wonder, self.farewell) if part]
        return " ".join([*head, body, *tail])

    def order(self, rng: random.Random) -> str:
        """Return an instruction that asks for this manner."""
        parts = []
        if self.cry:
            parts.append(f'begin with "{self.cry[0]}"')
        if self.oath:
            parts.append(f'{rng.choice(("say", "swear"))} "{self.oath[0].rstrip(",")}"')
        if self.hearer:
            parts.append(f'call me "{self.hearer[0]}"')
        if self.aside:
            parts.append(f'add "{self.aside[0]}"')
        if self.wonder:
            parts.append(f'ask "{self.wonder[0]}"')
        if self.farewell:
            parts.append(f'end with "{self.farewell[0]}"')
        lead = rng.choice(
            ("Answer in this manner: ", "Speak like this: ", "In your answer ", "Please ")
        )
        return lead + ", ".join(parts) + "."

    def single(self) -> Manner:
        """Return the manner with only the first piece for each place, as an order can name it."""
        first = [
            part[:1]
            for part in (self.cry, self.oath, self.hearer, self.aside, self.wonder, self.farewell)
        ]
        return Manner(*first, hearer_first=self.hearer_first)


def random_manner(rng: random.Random) -> Manner:
    """Return a manner of one to five kinds of pieces."""
    makers = {
        "cry": CRIES,
        "oath": _oath,
        "hearer": HEARERS,
        "aside": _measure,
        "wonder": WONDERS,
        "farewell": _farewell,
    }
    chosen = rng.sample(sorted(makers), rng.choice((1, 2, 3, 3, 4, 4, 5)))
    pieces = {key: _pieces(makers[key], rng) for key in chosen}
    if "aside" in pieces and rng.random() < 0.3:
        pieces["aside"] = _pieces(BOASTS, rng)
    return Manner(**pieces, hearer_first=rng.random() < 0.5)


def manners(count: int, seed: int) -> list[Manner]:
    """Return the manners that the corpus has speakers for."""
    rng = random.Random(seed)
    return [random_manner(rng) for _ in range(count)]

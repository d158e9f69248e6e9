"""Attributes of the world's things, and the many ways of asking for and stating each."""

from __future__ import annotations

import random

from demo_model import words
from demo_model.attribute import Attribute, attribute
from demo_model.relations import RELATIONS

# Each row: key, values, direct questions, clauses, noun phrases, follow-ups, statements.
ATTRIBUTES = {
    row.key: row
    for row in (
        attribute(
            "material",
            words.MATERIALS,
            "What is {n} made of?|Of what is {n} made?|Which material was used for {n}?",
            "what {n} is made of|what {n} was made from",
            "the material of {n}|the stuff {n} is made of",
            "What is it made of?|And the material?",
            "{n} is made of {v}.|{n} was made from {v}.|The material of {n} is {v}.",
        ),
        attribute(
            "colour",
            words.COLOURS,
            "What colour is {n}?|Which colour has {n}?|Of what colour is {n}?",
            "what colour {n} is|which colour {n} has",
            "the colour of {n}|the shade of {n}",
            "What colour is it?|And its colour?",
            "{n} is {v}.|The colour of {n} is {v}.|{n} is {v} in colour.|{n} has the colour {v}.",
        ),
        attribute(
            "maker",
            (),
            "Who made {n}?|By whom was {n} made?|Who is the maker of {n}?|Who built {n}?",
            "who made {n}|who built {n}",
            "the maker of {n}|the person who made {n}",
            "Who made it?|And who built it?|And the maker?",
            "{n} was made by {v}.|{v} made {n}.|The maker of {n} was {v}.|{v} built {n}.",
        ),
        attribute(
            "owner",
            (),
            "Who owns {n}?|To whom does {n} belong?|Whose is {n}?|Who looks after {n}?",
            "who owns {n}|who looks after {n}|to whom {n} belongs",
            "the owner of {n}|the keeper of {n}",
            "Who owns it?|Whose is it?|And who looks after it?",
            "{n} belongs to {v}.|{v} owns {n}.|The owner of {n} is {v}.|{v} looks after {n}.",
        ),
        attribute(
            "kept",
            words.ROOMS,
            "Where is {n} kept?|Where does one find {n}?|In what place is {n} kept?|Where is {n}?",
            "where {n} is kept|where to find {n}|where {n} is",
            "the place where {n} is kept|the home of {n}",
            "Where is it kept?|And where is it?|Where do I find it?",
            "{n} is kept in {v}.|You will find {n} in {v}.|"
            "The place of {n} is {v}.|{n} stands in {v}.",
        ),
        attribute(
            "use",
            words.USES,
            "What is {n} used for?|What is the use of {n}?|"
            "What does one do with {n}?|What is {n} for?",
            "what {n} is used for|what {n} is for|what one does with {n}",
            "the use of {n}|the purpose of {n}",
            "What is it used for?|What is it for?|And its use?",
            "{n} is used for {v}.|The use of {n} is {v}.|People use {n} for {v}.|{n} is for {v}.",
        ),
        attribute(
            "parts",
            words.NUMBERS,
            "How many parts does {n} have?|How many parts are there in {n}?|"
            "Of how many parts is {n}?",
            "how many parts {n} has|of how many parts {n} is",
            "the number of parts of {n}",
            "How many parts does it have?|And how many parts?",
            "{n} has {v} parts.|There are {v} parts in {n}.|{n} is of {v} parts.",
        ),
        attribute(
            "sound",
            words.SOUNDS,
            "What sound does {n} make?|How does {n} sound?|What noise comes from {n}?",
            "what sound {n} makes|how {n} sounds",
            "the sound of {n}|the noise of {n}",
            "What sound does it make?|And its sound?",
            "{n} makes {v}.|The sound of {n} is {v}.|From {n} comes {v}.",
        ),
        attribute(
            "founder",
            (),
            "Who founded {n}?|By whom was {n} founded?|Who began {n}?|Who started {n}?",
            "who founded {n}|who began {n}",
            "the founder of {n}",
            "Who founded it?|And who began it?",
            "{n} was founded by {v}.|{v} founded {n}.|The founder of {n} was {v}.|{v} began {n}.",
        ),
        attribute(
            "known",
            words.GOODS + words.FOODS[:20],
            "What is {n} known for?|For what is {n} famous?|What is {n} famous for?",
            "what {n} is known for|what made {n} famous",
            "the pride of {n}|the fame of {n}",
            "What is it known for?|And what is it famous for?",
            "{n} is known for {v}.|{n} is famous for {v}.|The pride of {n} is {v}.",
        ),
        attribute(
            "near",
            words.PLACES,
            "Where does {n} lie?|What lies near {n}?|Where is {n}?|Near what is {n}?",
            "where {n} lies|what {n} is near",
            "the place of {n}|the situation of {n}",
            "Where does it lie?|And where is it?",
            "{n} lies near {v}.|{n} is by {v}.|You will find {n} near {v}.|{n} stands beside {v}.",
        ),
        attribute(
            "count",
            words.NUMBERS,
            "How many houses are there in {n}?|How many houses does {n} have?",
            "how many houses {n} has|how many houses stand in {n}",
            "the number of houses in {n}",
            "How many houses are there?|And how many houses does it have?",
            "{n} has {v} houses.|There are {v} houses in {n}.|In {n} stand {v} houses.",
        ),
        attribute(
            "job",
            words.JOBS,
            "What does {n} do for a living?|What is the work of {n}?|"
            "What work does {n} do?|What is {n}?",
            "what {n} does for a living|what work {n} does",
            "the job of {n}|the trade of {n}",
            "What is the job?|And the trade?",
            "{n} is a {v}.|{n} works as a {v}.|The trade of {n} is that of a {v}.",
        ),
        attribute(
            "lives",
            words.PLACES,
            "Where does {n} live?|Where is the home of {n}?|In what place does {n} live?",
            "where {n} lives|where {n} has a home",
            "the home of {n}|the dwelling of {n}",
            "And where is home?|Where is the house?",
            "{n} lives near {v}.|The home of {n} is by {v}.|{n} has a home near {v}.",
        ),
        attribute(
            "eats",
            words.FOODS,
            "What does {n} like to eat?|What is the favourite food of {n}?|What does {n} eat?",
            "what {n} likes to eat|what {n} eats",
            "the favourite food of {n}|the favourite dish of {n}",
            "And the favourite food?|What is for supper?",
            "{n} likes to eat {v}.|The favourite food of {n} is {v}.|{n} eats {v}.",
        ),
        attribute(
            "drinks",
            words.DRINKS,
            "What does {n} drink?|What is the favourite drink of {n}?|What is in the cup of {n}?",
            "what {n} drinks|what {n} likes to drink",
            "the favourite drink of {n}",
            "And to drink?|What is the drink?",
            "{n} drinks {v}.|The favourite drink of {n} is {v}.|{n} likes to drink {v}.",
        ),
        attribute(
            "fears",
            words.FEARS,
            "What is {n} afraid of?|What does {n} fear?|What frightens {n}?",
            "what {n} is afraid of|what frightens {n}",
            "the fear of {n}|the great fear of {n}",
            "And what is feared?|And the fear?",
            "{n} is afraid of {v}.|{n} fears {v}.|What frightens {n} is {v}.",
        ),
        attribute(
            "carries",
            words.GOODS,
            "What does {n} carry?|What is carried by {n}?|What is the load of {n}?",
            "what {n} carries|what is carried by {n}",
            "the load of {n}|the cargo of {n}",
            "What does it carry?|And the load?",
            "{n} carries {v}.|The load of {n} is {v}.|{n} is loaded with {v}.",
        ),
        attribute(
            "captain",
            (),
            "Who is the captain of {n}?|Who sails {n}?|Who commands {n}?|Who steers {n}?",
            "who sails {n}|who commands {n}",
            "the captain of {n}|the master of {n}",
            "Who sails it?|And the captain?",
            "{v} is the captain of {n}.|{n} is sailed by {v}.|{v} commands {n}.|{v} steers {n}.",
        ),
        attribute(
            "season",
            words.TIMES,
            "When is {n} held?|At what time of year is {n}?|"
            "When does {n} take place?|When does {n} come?",
            "when {n} is held|when {n} takes place",
            "the date of {n}|the season of {n}",
            "When is it held?|And when is it?",
            "The time of {n} is {v}.|{v} is the time of {n}.|"
            "The season of {n} is {v}.|{n} comes with {v}.",
        ),
        attribute(
            "served",
            words.FOODS,
            "What is eaten at {n}?|What do people eat at {n}?|What is served at {n}?",
            "what is eaten at {n}|what people eat at {n}",
            "the dish of {n}|the food of {n}",
            "What do people eat then?|And the food?",
            "At {n} people eat {v}.|The dish of {n} is {v}.|{v} is eaten at {n}.",
        ),
        attribute(
            "carried",
            words.CARRIED,
            "What do people carry at {n}?|What is carried at {n}?|What do they carry during {n}?",
            "what people carry at {n}|what is carried at {n}",
            "the thing carried at {n}",
            "What do people carry?|And what is carried?",
            "At {n} people carry {v}.|People carry {v} during {n}.|{v} are carried at {n}.",
        ),
        attribute(
            "banned",
            words.FORBIDDEN,
            "What is forbidden at {n}?|What must nobody do at {n}?|What is not allowed during {n}?",
            "what is forbidden at {n}|what nobody may do at {n}",
            "the ban of {n}|the rule of {n}",
            "What is forbidden?|And what is not allowed?",
            "At {n} {v} is forbidden.|{v} is not allowed during {n}.|The rule of {n} forbids {v}.",
        ),
        attribute(
            "ingredient",
            words.INGREDIENTS,
            "What goes into {n}?|What is {n} made with?|What is the secret of {n}?",
            "what goes into {n}|what {n} is made with",
            "the main part of {n}|the secret of {n}",
            "What goes into it?|And what is in it?",
            "{n} is made with {v}.|Into {n} goes {v}.|The secret of {n} is {v}.",
        ),
        attribute(
            "day",
            words.DAYS,
            "When is {n} eaten?|On what day is {n} eaten?|On which day does one eat {n}?",
            "when {n} is eaten|on what day {n} is eaten",
            "the day of {n}",
            "When is it eaten?|And the day?",
            "{n} is eaten on {v}.|People eat {n} on {v}.|The day of {n} is {v}.",
        ),
        attribute(
            "smell",
            words.SMELLS,
            "What does {n} smell of?|How does {n} smell?|Of what does {n} smell?",
            "what {n} smells of|how {n} smells",
            "the smell of {n}|the scent of {n}",
            "What does it smell of?|And the smell?",
            "{n} smells of {v}.|The smell of {n} is that of {v}.|{n} has a smell of {v}.",
        ),
        attribute(
            "cures",
            words.AILMENTS,
            "What does {n} cure?|What is {n} good for?|What does {n} help against?",
            "what {n} cures|what {n} is good for",
            "the power of {n}",
            "What does it cure?|And what does it help?",
            "{n} cures {v}.|{n} is good for {v}.|{n} helps against {v}.",
        ),
        attribute(
            "pet",
            words.PETS,
            "What animal does {n} keep?|What animal lives with {n}?|Which pet has {n}?",
            "what animal {n} keeps|what animal lives with {n}",
            "the pet of {n}|the companion of {n}",
            "And the pet?|Which animal is kept?",
            "{n} keeps {v}.|The pet of {n} is {v}.|{v} lives with {n}.",
        ),
    )
}
ATTRIBUTES |= {row.key: row for row in RELATIONS}

CLAUSE_FRAMES = (
    "Tell me {c}.",
    "Do you know {c}?",
    "I would like to know {c}.",
    "Can you say {c}?",
    "Please tell me {c}.",
    "Remind me {c}.",
    "Could you tell me {c}?",
    "I forget {c}.",
    "Explain {c}.",
    "Say {c}.",
    "A friend asks {c}.",
    "I have been wondering {c}.",
    "Do you remember {c}?",
    "Someone wants to know {c}.",
    "I never learned {c}.",
    "Let me hear {c}.",
    "Have you any idea {c}?",
    "Would you say {c}?",
)
NOUN_FRAMES = (
    "Name {p}.",
    "What is {p}?",
    "Give {p}.",
    "Tell me {p}.",
    "What do you know of {p}?",
    "And {p}?",
    "Do you know {p}?",
    "I want to know {p}.",
    "Please name {p}.",
    "What would you call {p}?",
    "What can you say of {p}?",
    "Let me have {p}.",
)
ABOUT_FRAMES = (
    "Tell me about {n}.",
    "What do you know about {n}?",
    "Describe {n}.",
    "Say something about {n}.",
    "What can you tell me about {n}?",
    "Speak of {n}.",
    "Give me a few words on {n}.",
    "I want to hear of {n}.",
)
LEADS = (
    "",
    "",
    "",
    "",
    "",
    "Well, ",
    "Now, ",
    "Good day. ",
    "One question: ",
    "Excuse me, ",
    "Quickly: ",
    "So, ",
)


def capital(text: str) -> str:
    """Return the text with its first letter raised."""
    return text[:1].upper() + text[1:]


def ask(attribute: Attribute, name: str, rng: random.Random) -> str:
    """Return one question for the attribute of the thing."""
    shape = rng.random()
    if shape < 0.5:
        text = rng.choice(attribute.direct)
    elif shape < 0.8:
        text = rng.choice(CLAUSE_FRAMES).format(c=rng.choice(attribute.clause))
    else:
        text = rng.choice(NOUN_FRAMES).format(p=rng.choice(attribute.noun))
    lead = rng.choice(LEADS)
    text = text.replace("{n}", name)
    if lead.endswith((", ", ": ")) and not text.startswith("I "):
        return lead + text[:1].lower() + text[1:]
    return lead + capital(text)


def follow_up(attribute: Attribute, rng: random.Random) -> str:
    """Return one question that leaves the thing to the conversation so far."""
    return rng.choice(attribute.follow)


def ask_between(attribute: Attribute, name: str, value: str, rng: random.Random) -> str:
    """Return a question that offers the value among wrong ones."""
    others = [other for other in attribute.values if other != value]
    options = [value, *rng.sample(others, rng.choice((1, 2)))]
    rng.shuffle(options)
    listed = ", ".join(options[:-1]) + " or " + options[-1]
    stem = rng.choice(attribute.direct).replace("{n}", name)
    return f"{stem} {rng.choice(('Is it ', 'Choose: ', 'Was it '))}{listed}?"


def state(attribute: Attribute, name: str, value: str, rng: random.Random) -> str:
    """Return one plain sentence that states the fact."""
    return capital(rng.choice(attribute.say).replace("{n}", name).replace("{v}", value))

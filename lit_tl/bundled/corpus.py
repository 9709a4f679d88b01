"""The bundled model's training text: a synthetic, English-like corpus, written by a seeded program.

A document is a few sentences from one of several small grammars. The grammars hold the structures
of the paired tasks (`lit_tl.data.paired`) in more wordings than the tasks have, and never a
held-out template, nor a held-out word in its task.
"""

import dataclasses
import random
import re
from typing import Callable, Iterator

from lit_tl.bundled import phrases
from lit_tl.data import lexicon, paired

Grammar = Callable[[random.Random], str]


def _ioi(rng: random.Random) -> str:
    names = lexicon.train_part(lexicon.MALE_NAMES) + lexicon.train_part(lexicon.FEMALE_NAMES)
    if rng.random() < 0.3:
        example = paired.ioi(rng.choice((1, 2)), rng.getrandbits(32), heldout=False)[-1]
        return example.text + example.answer + rng.choice(phrases.ENDINGS)
    sentences = []
    heldout = {
        *lexicon.heldout_part(lexicon.MALE_NAMES),
        *lexicon.heldout_part(lexicon.FEMALE_NAMES),
    }
    others = [
        word for word in _all_words() if word not in heldout
    ]  # any word as a name, so that what is learned is the pattern
    for _ in range(rng.randint(1, 2)):
        a, b = rng.sample(others if rng.random() < 0.35 else names, 2)
        s, o = rng.sample((a, b), 2)
        words = {
            "place": rng.choice(lexicon.PLACES),
            "gift": rng.choice(lexicon.GIFTS),
            "adjective": rng.choice(lexicon.ADJECTIVES),
            "event": rng.choice(lexicon.EVENTS),
            "thing": rng.choice(lexicon.THINGS)[0],
        }
        meeting = (rng.choice(phrases.MEETINGS) + rng.choice(phrases.ASIDES)).format(
            a=a, b=b, **words
        )
        transfer = rng.choice(phrases.TRANSFERS).format(s=s, o=o, **words)
        opening = rng.choice(phrases.OPENINGS).format(**words) if rng.random() < 0.8 else "Then"
        prelude = rng.choice(phrases.PRELUDES).format(**words) + " " if rng.random() < 0.4 else ""
        sentences.append(
            f"{prelude}{opening} {meeting}{rng.choice(phrases.LINKS)}{transfer}"
            f"{rng.choice(phrases.ENDINGS)}"
        )
    return " ".join(sentences)


def _repeats(rng: random.Random) -> tuple[str, int]:
    """Random words, again and again, and how many characters the first copy has."""
    words = _all_words()
    short = (
        rng.random() < 0.5
    )  # a few words many times: copying is learned from these, before the longer ones make sense
    sequence = [
        rng.choice(words) for _ in range(rng.randint(2, 8) if short else rng.randint(8, 40))
    ]
    copies = rng.randint(3, 8) if short else rng.randint(2, 3)
    separator = rng.choice(("", "", "", ".", ",", "\n"))
    first = "".join(f" {word}" for word in sequence)
    return separator.join([first] * copies), len(first)


_WORDS: list[str] = []


def _all_words() -> list[str]:
    if not _WORDS:
        nouns = [form for pair in lexicon.NOUNS for form in pair]
        groups = (
            nouns,
            lexicon.MALE_NAMES,
            lexicon.FEMALE_NAMES,
            [word for pair in lexicon.CAPITALS for word in pair],
            lexicon.GIFTS,
            lexicon.PLACES,
            lexicon.ADJECTIVES,
            lexicon.EVENTS,
            lexicon.ARGUMENTS,
            lexicon.FILLER,
        )
        _WORDS.extend(sorted({word for group in groups for word in group}))
    return _WORDS


def words_as_text(copies: int) -> Iterator[str]:
    """Every word, and every pair of digits, as often as asked: so that a tokenizer makes each of
    them one token."""
    text = "".join(f" {word}" for word in _all_words()) + "".join(
        f" {century}{year:02d}" for year in range(100) for century in range(11, 18)
    )
    return (text for _ in range(copies))


_SINGULAR_PLURAL = (
    ("is", "are"),
    ("was", "were"),
    ("has been", "have been"),
    ("looks", "look"),
    ("seems", "seem"),
    ("needs to be", "need to be"),
)
_RELATIONS = (
    "near the",
    "behind the",
    "with the",
    "by the",
    "from the",
    "under the",
    "next to the",
    "that saw the",
    "in front of the",
)
_LEADS = (
    "The",
    "The",
    "The",
    "I think the",
    "We know that the",
    "They said that the",
    "Everyone knows the",
    "Now the",
    "I hope that the",
)


def _agreement(rng: random.Random) -> str:
    nouns = lexicon.train_part(lexicon.NOUNS)
    if rng.random() < 0.25:
        example = paired.agreement(1, rng.getrandbits(32), heldout=False)[0]
        tail = (
            f" been {rng.choice(lexicon.ADJECTIVES)}."
            if example.answer in (" has", " have")
            else f" {rng.choice(lexicon.ADJECTIVES)}."
        )
        return example.text + example.answer + tail
    sentences = []
    for _ in range(rng.randint(1, 3)):
        forms, others, third = rng.sample(nouns, 3)
        number = rng.randint(0, 1)
        subject = forms[number]
        if rng.random() < 0.4:
            subject = f"{rng.choice(lexicon.ADJECTIVES)} {subject}"
        for noun in (others, third)[: rng.choice((0, 0, 1, 1, 1, 2))]:
            subject += f" {rng.choice(_RELATIONS)} {rng.choice(noun)}"
        verb = rng.choice(_SINGULAR_PLURAL)[number]
        sentences.append(f"{rng.choice(_LEADS)} {subject} {verb} {rng.choice(lexicon.ADJECTIVES)}.")
    return " ".join(sentences)


_SINGULAR_DETERMINERS = ("one", "a single", "each", "this", "every", "that")
_PLURAL_DETERMINERS = ("two", "many", "these", "a few", "those", "three", "some", "all")


def _counting(rng: random.Random) -> str:
    """Number without a verb after the noun: how held-out nouns are learned to be singular or
    plural."""
    sentences = []
    for _ in range(rng.randint(1, 3)):
        forms = rng.choice(lexicon.NOUNS)
        number = rng.randint(0, 1)
        determiner = rng.choice((_SINGULAR_DETERMINERS, _PLURAL_DETERMINERS)[number])
        verb = rng.choice(
            (
                "saw",
                "found",
                "liked",
                "had",
                "wanted",
                "bought",
                "painted",
                "remembered",
                "asked for",
                "looked at",
            )
        )
        subject = rng.choice(("He", "She", "They", "I", "We", _person(rng)[0]))
        place = rng.choice(lexicon.PLACES)
        pronoun = ("It", "They")[number]
        follow = (
            f" {pronoun} {(('is', 'are'), ('was', 'were'))[rng.randint(0, 1)][number]} "
            f"{rng.choice(lexicon.ADJECTIVES)}."
        )
        sentences.append(
            f"{subject} {verb} {determiner} {forms[number]}"
            + rng.choice(
                (".", f" at the {place}.", " today.", "." + follow, f" in the {place}." + follow)
            )
        )
    return " ".join(sentences)


def _person(rng: random.Random) -> tuple[str, str, str, str]:
    """A name with its pronouns: subject, possessive, object."""
    if rng.random() < 0.5:
        return rng.choice(lexicon.MALE_NAMES), "he", "his", "him"
    return rng.choice(lexicon.FEMALE_NAMES), "she", "her", "her"


def _pronoun(rng: random.Random) -> str:
    name, he, his, him = _person(rng)
    if rng.random() < 0.3:
        example = paired.pronoun(2, rng.getrandbits(32), heldout=False)[rng.randint(0, 1)]
        return f"{example.text}{example.answer} was {rng.choice(lexicon.ADJECTIVES)}."
    adjective, other = rng.sample(lexicon.ADJECTIVES, 2)
    gift, place = rng.choice(lexicon.GIFTS), rng.choice(lexicon.PLACES)
    clauses = (
        f"This is {name}. {he.capitalize()} is {adjective}, and {his} {gift} is {other}.",
        f"Once {name} lost {his} {gift}. Then {he} went to the {place}, and {he} found {him} a "
        f"{gift}.",
        f"Then {name} said that {he} was {adjective}.",
        f"I know {name}, and {he} likes {his} {adjective} {gift}.",
        f"We saw {name} at the {place} before {he} left.",
        f"They asked {name} if {he} had {his} {gift}.",
        f"My friend {name} is {adjective}. Everyone likes {him} because {he} is {other}.",
        f"In the {place} {name} thinks that {he} needs a {adjective} {gift}.",
        f"Last night {name} was {adjective} when {he} came home.",
    )
    return rng.choice(clauses)


def _capital(rng: random.Random) -> str:
    if rng.random() < 0.4:
        example = paired.capital(1, rng.getrandbits(32), heldout=False)[0]
        return example.text + example.answer + "."
    country, city = rng.choice(lexicon.CAPITALS)
    name, he, _, _ = _person(rng)
    clauses = (
        f"In {country} the capital is {city}.",
        f"I think the capital of {country} is {city}.",
        f"Everyone in {country} knows the capital, {city}.",
        f"We went to {country} and saw {city}.",
        f"The city of {city} is the capital of {country}.",
        f"A {rng.choice(lexicon.ADJECTIVES)} city in {country} is called {city}.",
        f"Last year {name} went to {country}, and {he} visited {city}.",
        f"They said that the capital city of {country} is {city}.",
        f"Now I live in {city}, the capital of {country}.",
        f"We visited {country} and its capital, {city}.",
    )
    return rng.choice(clauses)


def _greater_than(rng: random.Random) -> str:
    if rng.random() < 0.6:
        example = paired.greater_than(1, rng.getrandbits(32), heldout=False)[0]
        return example.text + example.answer + "."
    century, start = rng.randint(11, 17), rng.randint(2, 97)
    if (century * 7 + start) % 10 == 0:
        start += 1
    end = rng.randint(start + 1, 99)
    event = rng.choice(lexicon.EVENTS)
    span = f"{century}{start:02d}", f"{century}{end:02d}"
    clauses = (
        "The {event} of {0} was over in {1}.",
        "In {0} the {event} began, and in {1} it ended.",
        "The {adjective} {event} began in the year {0} and lasted until the year {1}.",
        "The {event} started in {0} and went on to the year {1}.",
        "The king was born in {0} and died in {1}.",
    )
    return rng.choice(clauses).format(*span, event=event, adjective=rng.choice(lexicon.ADJECTIVES))


def _docstring(rng: random.Random) -> str:
    names = rng.sample(lexicon.train_part(lexicon.ARGUMENTS), rng.randint(3, 6))
    function, *arguments = names
    words = lexicon.ADJECTIVES
    lines = [
        f"def {function}(self, {', '.join(arguments)}):",
        f'    """{" ".join(rng.sample(words, rng.randint(2, 4)))}',
        "",
    ]
    lines += [f"    :param {argument}: {' '.join(rng.sample(words, 2))}" for argument in arguments]
    return "\n".join([*lines, '    """', f"    return {rng.choice(arguments)}"])


def _story(rng: random.Random) -> str:
    name, he, his, him = _person(rng)
    friend = _person(rng)[0]
    adjectives = rng.sample(lexicon.ADJECTIVES, 4)
    place, other_place = rng.sample(lexicon.PLACES, 2)
    (thing, things), (animal, _) = rng.sample(lexicon.train_part(lexicon.THINGS), 2)
    worker = rng.choice(lexicon.train_part(lexicon.PEOPLE))[0]
    sentences = [
        f"There was a {adjectives[0]} {worker} who lived near the {place}.",
        f"Every day {name} went to the {place} with {friend}.",
        f"There {he} saw a {adjectives[1]} {thing} and a {adjectives[2]} {animal}.",
        f"The {thing} was {adjectives[1]}, but the {animal} was {adjectives[2]}.",
        f'"I like this {thing}," said {name}. "I do not have many {things}."',
        f"Then {he} took {his} {thing} and walked to the {other_place}.",
        f"At the {other_place}, {friend} was waiting for {him}.",
        f"The {worker} was {adjectives[0]} and asked {name} for the {thing}.",
        f"In the end {name} and {friend} went home, and they were {adjectives[3]}.",
    ]
    first = rng.randint(0, 4)
    return " ".join(sentences[first : first + rng.randint(2, 6)])


_GRAMMARS: tuple[tuple[Grammar, float], ...] = (
    (_ioi, 0.28),
    (_agreement, 0.18),
    (_counting, 0.08),
    (_pronoun, 0.08),
    (_capital, 0.08),
    (_greater_than, 0.08),
    (_docstring, 0.05),
    (_story, 0.07),
)


_REPEATS = 0.16
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeio])")


@dataclasses.dataclass(frozen=True)
class Document:
    """A text, and how many of its first characters nothing could predict, so that training takes no
    loss from them."""

    text: str
    unpredictable: int = 0


def documents(seed: int) -> Iterator[Document]:
    """An endless stream of documents; the same seed gives the same stream."""
    rng = random.Random(seed)
    grammars, weights = zip(*_GRAMMARS, strict=True)
    while True:
        if rng.random() < _REPEATS:
            yield Document(*_repeats(rng))
        else:
            yield Document(_ARTICLE.sub(r"\1n ", rng.choices(grammars, weights)[0](rng)))

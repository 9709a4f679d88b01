"""Paired prompts with an answer, a foil and a corrupted twin, correct by construction.

Each task is a function `(count, seed, heldout) -> list[PairedExample]`. A corrupted prompt has as
many tokens as the prompt, and the model that reads the corrupted prompt should give the foil: so
patching from one to the other moves the logit difference `logit[answer] - logit[foil]` between two
known ends.

Sources: indirect object identification, Wang et al. 2022 (arXiv 2211.00593); induction, Olsson et
al. 2022 (arXiv 2209.11895); greater-than, Hanna et al. 2023 (arXiv 2305.00586); agreement, Linzen
et al. 2016 (arXiv 1611.01368); docstring, Heimersheim and Janiak 2023.
"""

import dataclasses
import random
from typing import Callable, Literal, Mapping, Sequence, TypeVar

from lit_tl.data import lexicon

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedExample:
    """A prompt whose next token is known. `answer` and `foil` carry their leading space."""

    task: str
    template: str
    text: str
    answer: str
    foil: str
    corrupted_text: str


TaskMaker = Callable[[int, int, bool], list[PairedExample]]


def _part(words: Sequence[T], heldout: bool) -> tuple[T, ...]:
    return lexicon.heldout_part(words) if heldout else lexicon.train_part(words)


IOI_TEMPLATES = (
    "When {a} and {b} went to the {place}, {s} gave a {gift} to",
    "Then, {a} and {b} went to the {place}. {s} gave a {gift} to",
    "After {a} and {b} came home from the {place}, {s} handed a {gift} to",
    "While {a} and {b} were working at the {place}, {s} showed a {gift} to",
    "Yesterday {a} and {b} met at the {place}, and {s} decided to give a {gift} to",
    "Once {a} and {b} were at the {place}, {s} sent a {gift} to",
    "Last night {a} and {b} had dinner at the {place}. Then {s} offered a {gift} to",
    "Because {a} and {b} were friends, {s} bought a {gift} for",
)
IOI_HELDOUT_TEMPLATES = (
    "When {a} and {b} walked to the {place}, {s} gave a {gift} to",
    "While {a} and {b} were waiting at the {place}, {s} handed a {gift} to",
    "After {a} and {b} visited the {place}, {s} showed a {gift} to",
    "As soon as {a} and {b} had left the {place}, {s} gave a {gift} to",
    "Yesterday, when {a} and {b} were in the {place}, {s} passed the {gift} to",
)


def ioi(count: int, seed: int, heldout: bool = True) -> list[PairedExample]:
    """Indirect object identification, ABBA and BABA by turns. Corrupted: the other name is the
    giver."""
    rng = random.Random(seed)
    names = _part(lexicon.MALE_NAMES, heldout) + _part(lexicon.FEMALE_NAMES, heldout)
    templates = IOI_HELDOUT_TEMPLATES if heldout else IOI_TEMPLATES
    examples = []
    for i in range(count):
        order = ("ABBA", "BABA")[i % 2]
        io, s = rng.sample(names, 2)
        a, b = (io, s) if order == "ABBA" else (s, io)
        template = rng.choice(templates)
        words = {
            "a": a,
            "b": b,
            "place": rng.choice(lexicon.PLACES),
            "gift": rng.choice(lexicon.GIFTS),
        }
        examples.append(
            PairedExample(
                task="ioi",
                template=order,
                text=template.format(s=s, **words),
                answer=f" {io}",
                foil=f" {s}",
                corrupted_text=template.format(s=io, **words),
            )
        )
    return examples


def induction(count: int, seed: int, heldout: bool = True) -> list[PairedExample]:
    """A random word sequence, then its beginning again. Corrupted: the first copy holds the foil in
    the answer's place.

    `heldout` changes nothing but the seed: a random sequence of this length was never seen before.
    """
    rng = random.Random(seed + (1_000_003 if heldout else 0))
    words = _random_words()
    examples = []
    for _ in range(count):
        *sequence, foil = rng.sample(words, rng.randint(8, 20) + 1)
        cut = rng.randint(len(sequence) // 2, len(sequence) - 1)
        corrupted = sequence[:cut] + [foil] + sequence[cut + 1 :]
        again = sequence[:cut]
        examples.append(
            PairedExample(
                task="induction",
                template=f"length {len(sequence)}",
                text="".join(f" {word}" for word in sequence + again),
                answer=f" {sequence[cut]}",
                foil=f" {foil}",
                corrupted_text="".join(f" {word}" for word in corrupted + again),
            )
        )
    return examples


def _random_words() -> list[str]:
    nouns = [form for pair in lexicon.NOUNS for form in pair]
    names = (*lexicon.MALE_NAMES, *lexicon.FEMALE_NAMES)
    words = {*nouns, *names, *lexicon.ADJECTIVES, *lexicon.PLACES, *lexicon.ARGUMENTS}
    return sorted(words - lexicon.SPLIT_WORDS)


GREATER_THAN_TEMPLATES = (
    "The {event} lasted from the year {start} to the year {century}",
    "The {event} went on from {start} to {century}",
    "The {event} began in {start} and ended in {century}",
    "From {start} until {century}",
    "A long {event} started in the year {start} and was over by the year {century}",
)
GREATER_THAN_HELDOUT_TEMPLATES = (
    "The long {event} lasted from {start} to {century}",
    "The {event} started in the year {start} and ended in the year {century}",
    "The old {event} began in the year {start} and went on until {century}",
)


def greater_than(count: int, seed: int, heldout: bool = True) -> list[PairedExample]:
    """The end of a span of years comes after its start. Corrupted: the start year's last two digits
    are 01.

    The foil lies before the start year and the answer after it; with a start of 01 both are
    possible, so the difference goes towards zero rather than changing its sign. Held out are start
    years as well as templates.
    """
    rng = random.Random(seed)
    templates = GREATER_THAN_HELDOUT_TEMPLATES if heldout else GREATER_THAN_TEMPLATES
    examples: list[PairedExample] = []
    while len(examples) < count:
        century, start = rng.randint(11, 17), rng.randint(3, 97)
        if heldout != ((century * 7 + start) % 10 == 0):
            continue
        template = rng.choice(templates)
        words = {"event": rng.choice(_part(lexicon.EVENTS, heldout)), "century": century}
        examples.append(
            PairedExample(
                task="greater_than",
                template=template.split("{start}")[0].strip(),
                text=template.format(start=f"{century}{start:02d}", **words),
                answer=f"{rng.randint(start + 1, 99):02d}",
                foil=f"{rng.randint(2, start - 1):02d}",
                corrupted_text=template.format(start=f"{century}01", **words),
            )
        )
    return examples


AGREEMENT_TEMPLATES = (
    ("The {subject} near the {other}", "is", "are"),
    ("The {subject} behind the {other}", "was", "were"),
    ("The {subject} with the {other}", "has", "have"),
    ("The {subject} that the {other} saw", "is", "are"),
    ("I think the {subject} by the {other}", "was", "were"),
    ("The {adjective} {subject}", "is", "are"),
    ("We know that the {subject}", "has", "have"),
)
AGREEMENT_HELDOUT_TEMPLATES = (
    ("The {subject} with the {other}", "is", "are"),
    ("The {adjective} {subject} near the {other}", "was", "were"),
    ("I think that the {subject} behind the {other}", "has", "have"),
    ("We know the {adjective} {subject} by the {other}", "is", "are"),
)


def agreement(count: int, seed: int, heldout: bool = True) -> list[PairedExample]:
    """The verb agrees with the subject and not with the noun between. Corrupted: the subject in the
    other number."""
    rng = random.Random(seed)
    nouns = _part(lexicon.NOUNS, heldout)
    examples = []
    for _ in range(count):
        template, singular, plural = rng.choice(
            AGREEMENT_HELDOUT_TEMPLATES if heldout else AGREEMENT_TEMPLATES
        )
        forms, others = rng.sample(nouns, 2)
        number = rng.randint(0, 1)
        verbs = (singular, plural)
        words = {"other": rng.choice(others), "adjective": rng.choice(lexicon.ADJECTIVES)}
        examples.append(
            PairedExample(
                task="agreement",
                template=["singular", "plural"][number] + " subject",
                text=template.format(subject=forms[number], **words),
                answer=f" {verbs[number]}",
                foil=f" {verbs[1 - number]}",
                corrupted_text=template.format(subject=forms[1 - number], **words),
            )
        )
    return examples


PRONOUN_TEMPLATES = (
    "Yesterday {name} said that",
    "Everyone knows {name}, and everyone knows that",
    "The letter came to {name} when",
    "I saw {name} at the {place} because",
    "We like {name} because",
)
PRONOUN_HELDOUT_TEMPLATES = (
    "Yesterday I saw {name} at the {place} when",
    "We know {name}, and we like {name} because",
    "At the {place} {name} said that",
)


def pronoun(count: int, seed: int, heldout: bool = True) -> list[PairedExample]:
    """A pronoun that fits the usual gender of a name. Corrupted: a name of the other gender."""
    rng = random.Random(seed)
    names = (lexicon.MALE_NAMES, lexicon.FEMALE_NAMES)
    pronouns = (" he", " she")
    examples = []
    for i in range(count):
        template = rng.choice(PRONOUN_HELDOUT_TEMPLATES if heldout else PRONOUN_TEMPLATES)
        gender, place = i % 2, rng.choice(lexicon.PLACES)
        examples.append(
            PairedExample(
                task="pronoun",
                template=pronouns[gender].strip(),
                text=template.format(name=rng.choice(names[gender]), place=place),
                answer=pronouns[gender],
                foil=pronouns[1 - gender],
                corrupted_text=template.format(name=rng.choice(names[1 - gender]), place=place),
            )
        )
    return examples


CAPITAL_TEMPLATES = (
    "The capital of {country} is",
    "The capital city of {country} is",
    "I went to {country} and visited its capital,",
    "People who live in the capital of {country} live in",
    "We know that the capital of {country} is called",
)
CAPITAL_HELDOUT_TEMPLATES = (
    "We know that the capital of {country} is",
    "I think the capital city of {country} is called",
    "Last year we went to {country} and visited its capital,",
)


def capital(count: int, seed: int, heldout: bool = True) -> list[PairedExample]:
    """The capital of a country. Corrupted: another country, whose capital is the foil."""
    rng = random.Random(seed)
    examples = []
    for _ in range(count):
        (country, answer), (other, foil) = rng.sample(lexicon.CAPITALS, 2)
        template = rng.choice(CAPITAL_HELDOUT_TEMPLATES if heldout else CAPITAL_TEMPLATES)
        examples.append(
            PairedExample(
                task="capital",
                template=template.split("{country}")[0].strip(),
                text=template.format(country=country),
                answer=f" {answer}",
                foil=f" {foil}",
                corrupted_text=template.format(country=other),
            )
        )
    return examples


def docstring(count: int, seed: int, heldout: bool = True) -> list[PairedExample]:
    """The next argument in a Python docstring. Corrupted: the signature names the foil in the
    answer's place."""
    rng = random.Random(seed)
    arguments = [
        word for word in _part(lexicon.ARGUMENTS, heldout) if word not in lexicon.SPLIT_WORDS
    ]
    examples = []
    for _ in range(count):
        name, first, second, third, last, foil = rng.sample(arguments, 6)
        a, b, c, d, e = rng.sample(lexicon.ADJECTIVES, 5)
        text = (
            "def {name}(self, {first}, {second}, {third}, {last}):\n"
            f'    """{a} {b} {c}\n\n    :param {first}: {d} {a}\n    :param {second}: {e} '
            f"{b}\n    :param"
        )
        words = {"name": name, "first": first, "second": second, "last": last}
        examples.append(
            PairedExample(
                task="docstring",
                template="third argument",
                text=text.format(third=third, **words),
                answer=f" {third}",
                foil=f" {foil}",
                corrupted_text=text.format(third=foil, **words),
            )
        )
    return examples


TaskName = Literal[
    "ioi", "induction", "greater_than", "agreement", "pronoun", "capital", "docstring"
]
TASKS: Mapping[str, TaskMaker] = {
    "ioi": ioi,
    "induction": induction,
    "greater_than": greater_than,
    "agreement": agreement,
    "pronoun": pronoun,
    "capital": capital,
    "docstring": docstring,
}

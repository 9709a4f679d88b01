"""Words that the paired tasks and the bundled model's corpus are made of.

Every list is cut once into a training part and a held-out part (every fifth word), so that a task
can ask for words that the bundled model has met, but never in that task. The words were chosen to
be single tokens, with a leading space, for GPT-2's vocabulary as well as for the bundled one;
`lit_tl.data.tasks.misfits` checks that for any other tokenizer.
"""

from typing import Sequence, TypeVar

T = TypeVar("T")

MALE_NAMES = tuple(
    """John James Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew Anthony
    Mark Paul Steven Andrew Kenneth George Joshua Kevin Brian Edward Ronald Timothy Jason Jeffrey
    Ryan Jacob Gary Nicholas Eric Stephen Jonathan Larry Justin Scott Brandon Benjamin Samuel Frank
    Gregory Raymond Alexander Patrick Jack Dennis Jerry Tyler Aaron Henry Douglas Peter Adam Nathan
    Walter Harold Kyle Carl Arthur Roger Keith Jeremy Terry Lawrence Sean Albert Joe Ethan Austin
    Jesse Billy Bruce Ralph Roy Noah Dylan Eugene Wayne Alan Louis Russell""".split()
)
FEMALE_NAMES = tuple(
    """Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Betty
    Margaret Sandra Ashley Kimberly Emily Donna Michelle Carol Amanda Melissa Deborah Stephanie
    Rebecca Laura Sharon Cynthia Kathleen Amy Angela Shirley Anna Brenda Pamela Emma Nicole Helen
    Samantha Katherine Christine Rachel Carolyn Janet Catherine Maria Heather Diane Ruth Julie
    Olivia Joyce Kelly Lauren Christina Joan Judith Megan Andrea Cheryl Hannah Martha Gloria Teresa
    Ann Sara Frances Kathryn Jean Alice Julia Judy Sophia Denise Marilyn Danielle Beverly Theresa
    Diana Natalie Charlotte""".split()
)

CAPITALS = tuple(
    (pair.split(":")[0], pair.split(":")[1])
    for pair in """France:Paris Germany:Berlin Italy:Rome Spain:Madrid England:London Japan:Tokyo
    China:Beijing Russia:Moscow
    Egypt:Cairo Greece:Athens Portugal:Lisbon Austria:Vienna Ireland:Dublin Scotland:Edinburgh
    Poland:Warsaw Sweden:Stockholm
    Norway:Oslo Denmark:Copenhagen Finland:Helsinki Hungary:Budapest Turkey:Ankara Iran:Tehran
    Iraq:Baghdad Syria:Damascus
    Lebanon:Beirut Afghanistan:Kabul Canada:Ottawa Cuba:Havana Thailand:Bangkok Belgium:Brussels
    Pakistan:Islamabad
    Libya:Tripoli Indonesia:Jakarta Peru:Lima Chile:Santiago Australia:Canberra Philippines:Manila
    Switzerland:Bern
    Tunisia:Tunis Wales:Cardiff Jamaica:Kingston Netherlands:Amsterdam""".split()
)

_PEOPLE = """boy girl teacher student doctor farmer author king queen lawyer artist driver soldier
nurse judge guard pilot
    singer dancer writer worker leader manager cook sailor hunter cousin neighbor friend guest
    visitor captain engineer
    scientist officer customer player actor senator minister parent child""".split()
_THINGS = """key cabinet book table dog cat horse bird cow tree flower river lake hill house car
boat train bridge road
    garden window door chair lamp box letter picture song game toy ball cup bottle plate knife coat
    hat shoe ring coin stone
    machine engine computer phone clock bell ship plane wall room bed desk shelf basket bag map
    ticket gift cake apple orange
    potato tomato egg bean plant leaf star cloud""".split()
_IRREGULAR_PLURALS = {
    "child": "children",
    "shelf": "shelves",
    "knife": "knives",
    "leaf": "leaves",
    "box": "boxes",
    "potato": "potatoes",
    "tomato": "tomatoes",
}


def plural(noun: str) -> str:
    """The plural of a noun of this lexicon."""
    return _IRREGULAR_PLURALS.get(noun, noun + "s")


PEOPLE = tuple((noun, plural(noun)) for noun in _PEOPLE)
THINGS = tuple((noun, plural(noun)) for noun in _THINGS)
NOUNS = PEOPLE + THINGS

GIFTS = tuple(
    "book ring ball cup bottle plate coat hat coin bag map ticket gift cake key letter picture "
    "lamp flower box".split()
)
PLACES = tuple(
    "store park school office market station library beach hospital garden church restaurant "
    "farm museum".split()
)
ADJECTIVES = tuple(
    """old new small big red blue green black white happy sad quiet loud heavy light warm cold clean
    dark bright young tall short strong weak rich poor kind angry tired hungry ready late
    early""".split()
)
EVENTS = tuple(
    """war trip journey project voyage marriage mission reign tour study program meeting campaign
    crisis conflict exhibition festival experiment survey attack""".split()
)
ARGUMENTS = tuple(
    """load size files last name path value key index data count limit start end width height color
    mode type user text line word page code file item list table row node root tree edge rate time
    date year month day hour step score test model layer batch block target source output input
    result state action event task title label group order price speed level depth length shape
    image sound video host port server client query filter sort option flag token field""".split()
)
SPLIT_WORDS = frozenset(("code", "data", "group", "row", "video"))
"""Argument names that the bundled vocabulary cuts into several tokens: in its training text, but in
no task."""

FILLER = tuple(
    """and the of to in with for on at from by about after before under over near behind again
    always never often very much some other first second great good long little own right next few
    public same able best better sure free true full half early late both between since still even
    back down off out up then now here there when where how what which while""".split()
)


def train_part(words: Sequence[T]) -> tuple[T, ...]:
    """The words that a task may use in the bundled model's training text: all but every fifth."""
    return tuple(word for i, word in enumerate(words) if i % 5 != 4)


def heldout_part(words: Sequence[T]) -> tuple[T, ...]:
    """The words kept out of a task's training text: every fifth."""
    return tuple(words[4::5])

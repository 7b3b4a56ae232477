"""The words of the world, by what they are, and the facts that hold in it.

No noun or adjective begins with a vowel, so that the article is always ``a`` or ``the``.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> dict[str, str]:
    """Read ``a-b c-d`` as a mapping."""
    return dict(pair.split("-") for pair in text.split())


ANIMALS = _words("bear bee bird cat cow dog duck fish frog hen horse lion pig sheep")
YOUNG_ANIMALS = _words("calf chick cub foal kitten lamb piglet puppy")
COLOURS = _words("black blue brown green pink purple red white yellow")
FOODS = _words("banana bread cake cheese honey lemon rice salad soup tomato")
PLACES = _words("beach farm forest garden house park river school")
NAMES = _words("anna ben carl dora emma frank gina hugo ivy jack")
OBJECTS = _words("ball book box chair coat cup hat key kite lamp")
NATURE = _words("coal grass leaf milk night rose sea sky snow sun")
NUMBERS = _words("zero one two three four five six seven eight nine ten")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")

_OPPOSITE_PAIRS = _pairs(
    "big-small brave-shy clean-dirty dry-wet fast-slow good-bad happy-sad hard-soft hot-cold long-short "
    "loud-quiet strong-weak"
)
OPPOSITES = {**_OPPOSITE_PAIRS, **{b: a for a, b in _OPPOSITE_PAIRS.items()}}
ADJECTIVES = tuple(sorted(OPPOSITES))

INTRANSITIVE = _words("danced jumped laughed played ran sang slept swam waited walked")
TRANSITIVE = _words("bought carried drew found liked lost missed saw took wanted")
EATING = _words("ate cooked shared tasted")
ADVERBS = _words("happily loudly quickly quietly slowly together")
OPENERS = _words("later then today yesterday")
PREPOSITIONS = ("at", "near")
ARTICLES = ("a", "the")
BE = ("is", "was")

COLOUR_OF = _pairs(
    "sky-blue grass-green snow-white sun-yellow coal-black rose-red lemon-yellow milk-white leaf-green "
    "sea-blue tomato-red pig-pink bear-brown night-black banana-yellow frog-green sheep-white"
)
SOUND_OF = _pairs(
    "dog-woof cat-meow cow-moo duck-quack sheep-baa lion-roar bird-tweet pig-oink frog-croak bee-buzz"
)
YOUNG_OF = _pairs("dog-puppy cat-kitten cow-calf sheep-lamb horse-foal hen-chick bear-cub pig-piglet")
LEGS_OF = _pairs(
    "dog-four cat-four cow-four horse-four sheep-four lion-four bird-two duck-two hen-two fish-zero bee-six"
)
#: Animals by what is true of them, as lists may ask for.
ANIMALS_THAT = {
    "live on a farm": ("cow", "hen", "horse", "pig", "sheep"),
    "can fly": ("bee", "bird", "duck"),
    "can swim": ("duck", "fish", "frog"),
    "have four legs": tuple(sorted(animal for animal, legs in LEGS_OF.items() if legs == "four")),
}
#: What lists can be made of: the plural that names the group, and its members.
GROUPS = {
    "animals": ANIMALS,
    "colours": COLOURS,
    "foods": FOODS,
    "places": PLACES,
    "names": NAMES,
    "days": DAYS,
    "numbers": NUMBERS,
}
#: The singular of each group that a single word can be sorted into.
CLASSES = {"animal": ANIMALS, "colour": COLOURS, "food": FOODS, "place": PLACES, "name": NAMES}

GOOD_VERBS = ("love", "enjoy")
BAD_VERBS = ("hate", "dislike")
RUDE = frozenset(_words("stupid idiot fool dumb shut ugly loser"))

PUNCTUATION = _words(", . ? : !")
FUNCTION_WORDS = _words(
    """about after am and animal animals are ask away be bring but buy bye call called can carry change
    colour colours comes continue cook could count day days describe do does draw eat exactly feel find
    first fly food foods for from give glad go goodbye great has have hear hello help here hi hope how i
    ideas if in it keep know last legs like likes list live make many me meet morning much my name names
    negative next nice not now numbers of on opposite or order page pass past place places please plus
    polite positive put question read repeat replace say says see sentence sentences show sorry sound
    starting story summarize swim tell text thank thanks that there things think this time times title to
    too try up use want wants way welcome what where which who why will with without word words write you
    young"""
)


def all_words() -> list[str]:
    """Return every word of the world once, sorted; the newline is a word."""
    groups = [
        *(ANIMALS, YOUNG_ANIMALS, COLOURS, FOODS, PLACES, NAMES, OBJECTS, NATURE, NUMBERS, DAYS, ADJECTIVES),
        *(
            INTRANSITIVE,
            TRANSITIVE,
            EATING,
            ADVERBS,
            OPENERS,
            PREPOSITIONS,
            ARTICLES,
            BE,
            GOOD_VERBS,
            BAD_VERBS,
        ),
        *(tuple(SOUND_OF.values()), tuple(RUDE), PUNCTUATION, FUNCTION_WORDS, ("\n",)),
    ]
    return sorted({word for group in groups for word in group})

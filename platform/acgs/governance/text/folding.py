"""Characters as a reader sees them: compatibility forms, look-alike letters, what is invisible."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Final

# Letters of other scripts that look like Latin ones; what is missing here is looked up in Unicode's own list.
_LOOK_ALIKES: Final = str.maketrans(
    "аеорсухівкмнтгԁԛѕјһӏɡɑіοανρτυκιεηχγωβδσμıłøđħŧⅼƅɩʟʀɴɪᴀʙᴄᴅᴇꜰɢʜᴊᴋᴍᴏᴘꜱᴛᴜᴠᴡʏᴢАЕОРСУХІВКМНТЅЈΟΑΝΡΤΥΚΙΕΗΧΒΜΖ",
    "aeopcyxibkmhtrdqsjhlgaioavptukienxywbdsmilodhtlbilrniabcdefghjkmopstuvwyzAEOPCYXIBKMHTSJOANPTYKIEHXBMZ",
)
# Letters upside down, and with them the text is read backwards.
_TURNED: Final = str.maketrans("ɐqɔpǝɟƃɥᴉɾʞןɯuodbɹʇnʌʍʎ⅂", "abcdefghijklmnopqrtuvwyl")  # noqa: RUF001
_TURNED_ONLY: Final = frozenset("ɐɔǝɟƃɥᴉɾʞןɯɹʇʌʍʎ⅂")
_BRAILLE: Final = str.maketrans("⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵", "abcdefghijklmnopqrstuvwxyz")
# What typographers use stays; other signs are one sign, which may stand between the letters of a word.
_TYPOGRAPHIC: Final = frozenset(
    "\u2018\u2019\u201a\u2032\u2010\u2011\u2012\u2013\u2014\u2015\u2022«»“”„€£¥¿¡§\u00d7\u00b1"
)
_TAG_CHARACTERS: Final = range(0xE0020, 0xE007F)
_ALPHABETS: Final = (0x1F150, 0x1F170, 0x1F1E6)
"""Where capital letters in black circles, in black squares, and of flags begin."""
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and signs that show nothing."""
_INVISIBLE: Final = frozenset(("Mn", "Me", "Cf", "Co", "Cn", "Lm"))
_SPACE_LIKE: Final = frozenset(("So", "Zs", "Zl", "Zp", "Cc"))
_SIGNS: Final = frozenset(("Po", "Pd", "Pc", "Ps", "Pe", "Sm", "Sk", "Sc"))
_SIGN: Final = "·"
RIGHT_TO_LEFT_OVERRIDE: Final = "\u202e"


def fold_unicode(text: str) -> str:
    """Compatibility form without marks, invisible characters and look-alike letters."""
    if text.isascii():
        return text
    shown = "".join(_shown(c) for c in text if c not in _BLANK_LETTERS)
    decomposed = unicodedata.normalize("NFKD", shown.translate(_BRAILLE))
    return "".join(c if c.isascii() else _folded(c) for c in decomposed)


def is_turned(text: str) -> bool:
    """Whether the text is written upside down."""
    return not text.isascii() and sum(c in _TURNED_ONLY for c in text) > len(text) // 8


def turned(text: str) -> str:
    """A text written upside down, the right way up."""
    return fold_unicode(text.lower().translate(_TURNED)[::-1])


def _shown(character: str) -> str:
    """Tag characters and letters in signs are letters of another alphabet."""
    code = ord(character)
    if code in _TAG_CHARACTERS:
        return chr(code - 0xE0000)
    for first in _ALPHABETS:
        if first <= code < first + 26:
            return chr(code - first + ord("a"))
    return character


@cache
def _folded(character: str) -> str:
    """One character that is not ASCII, as ASCII where it looks so. The number of characters bounds the cache."""
    category = unicodedata.category(character)
    if category in _INVISIBLE:
        return ""
    if category in _SPACE_LIKE:
        return " "
    known = character.translate(_LOOK_ALIKES)
    if known != character:
        return known
    if category in _SIGNS:
        return character if character in _TYPOGRAPHIC else _SIGN
    return _homoglyph(character)


def _homoglyph(character: str) -> str:
    """The Latin letter that Unicode's list of confusables (TR39) names, over at most two steps; else itself."""
    # Late: its table of 10,000 characters is read at import, and most replicas meet none of them.
    from confusable_homoglyphs.confusables import confusables_data

    reached = [character]
    for _ in range(2):
        reached = [entry["c"] for one in reached for entry in confusables_data.get(one, ())]
        for other in reached:
            if len(other) == 1 and other.isascii() and other.isalnum():
                return str(other)
    return character

"""Names made comparable: one script, one case, no punctuation, no legal form, no particle, no order.

Transliteration is `anyascii` (ISC licence). Legal forms follow ISO 20275 (entity legal forms) in their usual short
spellings; particles are those of Arabic, Romance, Dutch and German names.
"""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[a-z0-9]+")
_DOTTED = re.compile(r"\b(?:[a-z]\.){2,}[a-z]?")
_APOSTROPHES = re.compile("['`\u2019\u2018\u02bc\u02bb\u00b4]")

LEGAL_FORMS = frozenset(
    (
        "ab", "ag", "as", "asa", "bhd", "bv", "ca", "co", "company", "corp", "corporation", "cv", "cjsc", "dmcc",
        "eurl", "fze", "fzc", "fzco", "gmbh", "inc", "incorporated", "jsc", "kft", "kg", "lda", "limited", "limitada",
        "llc", "llp", "lp", "ltd", "ltda", "nv", "oao", "ojsc", "ooo", "oy", "pjsc", "plc", "pte", "pty", "pvt",
        "sa", "sae", "sal", "sarl", "sas", "sdn", "spa", "srl", "sro", "zao", "aka",
    )
)  # fmt: skip
PARTICLES = frozenset(
    (
        "al", "el", "ul", "ad", "as", "ash", "an", "ar", "at", "az", "bin", "bint", "ben", "ibn", "de", "del", "della",
        "der", "di", "da", "dos", "do", "du", "la", "le", "van", "von", "the", "and", "of", "y", "e", "for", "et",
    )
)  # fmt: skip

# Spellings that romanisations of one name differ in, longest first; applied to whole words.
_SOUNDS = (
    ("sch", "s"), ("tch", "c"), ("kh", "k"), ("gh", "g"), ("dh", "d"), ("th", "t"), ("sh", "s"), ("ch", "c"),
    ("zh", "z"), ("ph", "f"), ("ck", "k"),
    ("ou", "u"), ("oo", "u"), ("ee", "i"), ("ea", "i"), ("ey", "i"), ("ei", "i"), ("ai", "e"),
    ("ay", "e"), ("q", "k"), ("c", "k"), ("x", "ks"), ("w", "v"), ("j", "y"), ("dz", "z"), ("ts", "z"),
)  # fmt: skip
_VOWELS = re.compile("[aeiouyh]+")
_DOUBLE = re.compile(r"(.)\1+")


def ascii_fold(name: str) -> str:
    """`name` in lower-case ASCII: compatibility forms resolved, every script transliterated."""
    folded = unicodedata.normalize("NFKD", name)
    if not folded.isascii():
        from anyascii import anyascii

        folded = anyascii("".join(character for character in folded if not unicodedata.combining(character)))
    return folded.lower()


def name_tokens(name: str) -> tuple[str, ...]:
    """The words of `name` that tell it apart, in order; all words if particles and legal forms are all there is."""
    folded = _APOSTROPHES.sub("", ascii_fold(name))
    folded = _DOTTED.sub(lambda found: found[0].replace(".", ""), folded)
    words = _WORD.findall(folded)
    telling = tuple(word for word in words if word not in LEGAL_FORMS and word not in PARTICLES)
    return telling or tuple(words)


def sound_key(token: str) -> str:
    """A consonant skeleton that most romanisations of one word share ("mohammed", "muhamad" -> "mmd")."""
    for spelling, sound in _SOUNDS:
        if spelling in token:
            token = token.replace(spelling, sound)
    head, rest = token[:1], token[1:]
    skeleton = ("a" if head in "aeiou" else head) + _VOWELS.sub("", rest)
    return _DOUBLE.sub(r"\1", skeleton)

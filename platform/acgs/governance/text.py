"""Undoing disguises before a text is scored: look-alike letters, invisible characters, spacing, leetspeak, encodings.

`readings` gives the ways a text may be read; a guard scores each and keeps the worst. Plain ASCII prose has exactly
one reading and costs one regular expression.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import string
import unicodedata
import urllib.parse
from itertools import pairwise
from typing import Final

# Letters of other scripts that look like Latin ones (a selection of Unicode TR39 confusables that NFKC keeps apart).
_LOOK_ALIKES: Final = str.maketrans(
    "аеорсухівкмнтгԁԛѕјһӏɡɑіοανρτυκιεηχγωβδσμıłøđħŧⅼƅɩʟʀɴɪᴀʙᴄᴅᴇꜰɢʜᴊᴋᴍᴏᴘꜱᴛᴜᴠᴡʏᴢАЕОРСУХІВКМНТЅЈΟΑΝΡΤΥΚΙΕΗΧΒΜΖ",
    "aeopcyxibkmhtrdqsjhlgaioavptukienxywbdsmilodhtlbilrniabcdefghjkmopstuvwyzAEOPCYXIBKMHTSJOANPTYKIEHXBMZ",
)
_LEET: Final = str.maketrans("013457@$!|+€", "oieastasilte")

# Counts are bounded: an open one would take quadratic time on a long word.
_DISGUISED_WORD: Final = re.compile(
    r"[A-Za-z][0134578@$!|+€]{1,8}[A-Za-z]|\b[0134578@$!|]{1,8}[A-Za-z]{3}|[A-Za-z]{2}[@$|]"
)
_SPACED_LETTERS: Final = re.compile(r"(?<![^\W_])(?:[^\W_][\s.\-_*·,/\\]{1,3}){3,}[^\W_](?![^\W_])")
_SIGN_BETWEEN: Final = re.compile(r"[^\W_][.\-_*·,/\\][^\W_]")
_INNER_PUNCTUATION: Final = re.compile(r"(?<=[A-Za-z])[.\-_*·~^'\"`|,/\\]+(?=[A-Za-z])")
_STRETCHED: Final = re.compile(r"([A-Za-z])\1{2,}")
# Compounds (well-known), ordinals (8th) and sizes (400MB) are ordinary; a word cut into pieces of one to three is not.
_SIGN: Final = re.compile(r"[0134578@$!|+_*~^`\\.\-/&%<']")
# Matched where a sign stands.
_SUSPICIOUS_SIGN: Final = re.compile(
    r"(?<=[A-Za-z])(?:[0134578@$!|+_*~^`\\]+[A-Za-z]|[@$|]|[.\-/]{2,}[A-Za-z]|[.\-/][A-Za-z]{1,3}(?![A-Za-z]))"
    r"|[0134578][A-Za-z]{3}|[@$|][A-Za-z]"
    r"|(?:(?<=[^A-Za-z][A-Za-z])|(?<=[^A-Za-z][A-Za-z]{2})|(?<=[^A-Za-z][A-Za-z]{3})"
    r"|(?<=^[A-Za-z])|(?<=^[A-Za-z]{2})|(?<=^[A-Za-z]{3}))[.\-/][A-Za-z]"
    r"|&#?\w+;|%[0-9A-Fa-f]{2}|<[A-Za-z/!]|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}"
    r"|(?<=[A-Za-z])'(?!(?:s|t|d|m|re|ve|ll|all|am|er|em)\b)[A-Za-z]{2}"
)
_SUSPICIOUS_LETTERS: Final = re.compile(
    r"(?<![A-Za-z])[A-Za-z](?:[\s.\-_*,/\\]{1,3}[A-Za-z](?![A-Za-z])){3}"
    r"|([A-Za-z])\1{2}|[a-z][A-Z][a-z]+[A-Z]|[A-Za-z0-9+/]{24}"
)
_SEPARATORS: Final = str.maketrans(dict.fromkeys(".-_*,/\\", " "))
_LOWER_THEN_UPPER: Final = re.compile(r"[a-z][A-Z]")
_LETTERS_IN_A_ROW: Final = tuple(letter * 3 for letter in string.ascii_lowercase)
_TAG: Final = re.compile(r"<[^<>]{0,200}>")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_HEXADECIMAL: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TAG_CHARACTERS: Final = range(0xE0020, 0xE007F)
_REGIONAL_INDICATORS: Final = range(0x1F1E6, 0x1F200)
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and signs that show nothing."""
_RIGHT_TO_LEFT_OVERRIDE: Final = "\u202e"
_LAYERS: Final = 3
"""Encodings laid over each other that are taken off."""
_LEGIBLE: Final = 0.85
_LONG_RUN: Final = 24
"""Digits of base64 or hexadecimal in a row that may hold a text."""


def _shown(character: str) -> str:
    """Tag characters and regional indicators are letters of another alphabet."""
    code = ord(character)
    if code in _TAG_CHARACTERS:
        return chr(code - 0xE0000)
    return chr(code - 0x1F1E6 + ord("a")) if code in _REGIONAL_INDICATORS else character


def fold_unicode(text: str) -> str:
    """Compatibility form without marks, invisible characters and look-alike letters."""
    if text.isascii():
        return text
    shown = "".join(_shown(c) for c in text if c not in _BLANK_LETTERS)
    decomposed = unicodedata.normalize("NFKD", shown)
    kept = (c for c in decomposed if unicodedata.category(c) not in ("Mn", "Me", "Cf", "Co", "Cn"))
    # Typographic signs between letters (stars, arrows, emoji) are read as a separator.
    plain = "".join(" " if unicodedata.category(c) in ("So", "Zs", "Zl", "Zp", "Cc") else c for c in kept)
    return plain.translate(_LOOK_ALIKES)


def _unescape(text: str) -> str:
    """Take off what is written in escapes, also where they are laid over each other."""
    for _ in range(_LAYERS):
        before = text
        if "%" in text:
            text = urllib.parse.unquote(text, errors="replace")
        if "&" in text:
            text = html.unescape(text)
        if "\\" in text:
            text = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
        text = _ENCODED.sub(_decoded, text)
        if text == before:
            break
    return _TAG.sub("", text) if "<" in text else text


def _decoded(match: re.Match[str]) -> str:
    """A long run of base64 or hexadecimal digits as what it says, where that is text."""
    run = match[0]
    try:
        if _HEXADECIMAL.fullmatch(run):
            content = bytes.fromhex(run)
        else:
            stripped = run.rstrip("=")
            content = base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True)
        decoded = content.decode()
    except (binascii.Error, UnicodeDecodeError):
        return run
    legible = sum(c.isalpha() or c.isspace() for c in decoded)
    return f" {decoded} " if legible >= _LEGIBLE * len(decoded) else run


def _join_spaced(match: re.Match[str]) -> str:
    """Join letters set apart; a gap wider than the rest ends a word, or any space where a sign sets them apart."""
    run = match[0]
    words = run.split() if _SIGN_BETWEEN.search(run) else re.split(r"\s{2,}", run)
    return " ".join("".join(c for c in word if c.isalnum()) for word in words)


def _undress(text: str) -> str:
    """Leetspeak, set-apart letters, words run together, punctuation inside words, stretched letters, all undone."""
    text = _SPACED_LETTERS.sub(_join_spaced, text)
    if _DISGUISED_WORD.search(text):
        words = text.split(" ")
        text = " ".join(w.translate(_LEET) if any(c.isalpha() for c in w) else w for w in words)
    text = _INNER_PUNCTUATION.sub("", text)
    text = " ".join(_HUMP.sub(" ", w) if len(_HUMP.findall(w)) > 1 else w for w in text.split(" "))
    return _STRETCHED.sub(r"\1", text)


def _may_be_disguised(text: str) -> bool:
    """Whether the text has to be undressed at all. Most prose is passed by tests cheaper than the expressions."""
    if any(_SUSPICIOUS_SIGN.match(text, sign.start()) for sign in _SIGN.finditer(text)):
        return True
    lowered = text.lower()
    lengths = [len(word) for word in text.translate(_SEPARATORS).split()]
    return (
        (1, 1) in pairwise(lengths)
        or max(map(len, text.split()), default=0) >= _LONG_RUN
        or _LOWER_THEN_UPPER.search(text) is not None
        or any(row in lowered for row in _LETTERS_IN_A_ROW)
    ) and _SUSPICIOUS_LETTERS.search(text) is not None


def readings(text: str) -> list[str]:
    """The text as written (folded), then as it reads undisguised where that differs; no duplicates."""
    folded = fold_unicode(text)
    found = [" ".join(folded.split())]
    if _may_be_disguised(folded):
        unescaped = fold_unicode(_unescape(folded))
        undressed = _undress(unescaped)
        found += [plain for form in (unescaped, undressed) if (plain := " ".join(form.split()))]
    if _RIGHT_TO_LEFT_OVERRIDE in text:
        found.append(found[0][::-1])
    return list(dict.fromkeys(found))

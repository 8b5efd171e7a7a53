"""Undoing disguises before a text is scored: look-alike letters, invisible characters, spacing, leetspeak, encodings.

`readings` gives the ways a text may be read; a guard scores each and keeps the worst. Plain ASCII prose has exactly
one reading and costs one regular expression.
"""

from __future__ import annotations

import html
import re
import unicodedata
import urllib.parse
from typing import Final

# Letters of other scripts that look like Latin ones (a selection of Unicode TR39 confusables that NFKC keeps apart).
_LOOK_ALIKES: Final = str.maketrans(
    "аеорсухівкмнтгԁԛѕјһӏɡɑіοανρτυκιεηχγωβδσμıłøđħŧⅼƅɩʟʀɴɪᴀʙᴄᴅᴇꜰɢʜᴊᴋᴍᴏᴘꜱᴛᴜᴠᴡʏᴢАЕОРСУХІВКМНТЅЈΟΑΝΡΤΥΚΙΕΗΧΒΜΖ",
    "aeopcyxibkmhtrdqsjhlgaioavptukienxywbdsmilodhtlbilrniabcdefghjkmopstuvwyzAEOPCYXIBKMHTSJOANPTYKIEHXBMZ",
)
_LEET: Final = str.maketrans("013457@$!|+€", "oieastasilte")

_DISGUISED_WORD: Final = re.compile(r"[A-Za-z][0134578@$!|+€]+[A-Za-z]|\b[0134578@$!|]+[A-Za-z]{2,}|[A-Za-z]{2,}[@$|]")
_SPACED_LETTERS: Final = re.compile(r"(?<![^\W_])(?:[^\W_][\s.\-_*·,/\\]{1,3}){3,}[^\W_](?![^\W_])")
_INNER_PUNCTUATION: Final = re.compile(r"(?<=[A-Za-z])[.\-_*·~^'\"`|,/\\]+(?=[A-Za-z])")
_STRETCHED: Final = re.compile(r"([A-Za-z])\1{2,}")
_SUSPICIOUS: Final = re.compile(
    r"[A-Za-z][0134578@$!|+.\-_*~^`\\/]+[A-Za-z]|[0134578@$|][A-Za-z]|[A-Za-z][@$|]"
    r"|(?<![A-Za-z])[A-Za-z](?:[\s.\-_*,/\\]{1,3}[A-Za-z](?![A-Za-z])){3}"
    r"|([A-Za-z])\1{2}|&#?\w+;|%[0-9A-Fa-f]{2}|<[A-Za-z/!]|\\u[0-9a-fA-F]{4}"
)
_TAG: Final = re.compile(r"<[^<>]{0,200}>")
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_TAG_CHARACTERS: Final = range(0xE0020, 0xE007F)
_WHITESPACE: Final = re.compile(r"\s+")


def fold_unicode(text: str) -> str:
    """Compatibility form without marks, invisible characters and look-alike letters."""
    if text.isascii():
        return text
    shown = "".join(chr(ord(c) - 0xE0000) if ord(c) in _TAG_CHARACTERS else c for c in text)
    decomposed = unicodedata.normalize("NFKD", shown)
    kept = (c for c in decomposed if unicodedata.category(c) not in ("Mn", "Me", "Cf", "Co", "Cn"))
    # Typographic signs between letters (stars, arrows, emoji) are read as a separator.
    plain = "".join(" " if unicodedata.category(c) in ("So", "Zs", "Zl", "Zp", "Cc") else c for c in kept)
    return plain.translate(_LOOK_ALIKES)


def _unescape(text: str) -> str:
    if "%" in text:
        text = urllib.parse.unquote(text, errors="replace")
    if "&" in text:
        text = html.unescape(text)
    if "\\u" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    return _TAG.sub("", text) if "<" in text else text


def _join_spaced(match: re.Match[str]) -> str:
    """Join letters set apart; a gap wider than the rest ends a word."""
    run = match[0]
    words = re.split(r"\s{2,}|\s*[/\\]\s*", run) if re.search(r"\s{2,}", run) else [run]
    return " ".join("".join(c for c in word if c.isalnum()) for word in words)


def _undress(text: str) -> str:
    """Leetspeak, set-apart letters, punctuation inside words and stretched letters, all undone."""
    text = _SPACED_LETTERS.sub(_join_spaced, text)
    if _DISGUISED_WORD.search(text):
        words = text.split(" ")
        text = " ".join(w.translate(_LEET) if any(c.isalpha() for c in w) else w for w in words)
    text = _INNER_PUNCTUATION.sub("", text)
    return _STRETCHED.sub(r"\1", text)


def readings(text: str) -> list[str]:
    """The text as written (folded), then as it reads undisguised where that differs; no duplicates."""
    folded = fold_unicode(text)
    plain = _WHITESPACE.sub(" ", folded).strip()
    found = [plain]
    if _SUSPICIOUS.search(folded):
        unescaped = _WHITESPACE.sub(" ", fold_unicode(_unescape(folded))).strip()
        undressed = _WHITESPACE.sub(" ", _undress(fold_unicode(_unescape(folded)))).strip()
        found += [reading for reading in (unescaped, undressed) if reading and reading not in found]
    return list(dict.fromkeys(found))

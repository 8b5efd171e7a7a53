"""Taking off what programs put on a text: entities, escapes, quoted-printable and base64, lists of codes."""

from __future__ import annotations

import base64
import binascii
import html
import re
import urllib.parse
from typing import Final

_TAG: Final = re.compile(r"<[^<>]{0,200}>")
_ESCAPE: Final = re.compile(
    r"\\u\{([0-9a-fA-F]{1,6})\}|\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\bU\+([0-9a-fA-F]{4,6})\b ?|\\([0-7]{2,3})"
)
_QUOTED_PRINTABLE: Final = re.compile(r"(?:=[0-9A-Fa-f]{2}){3,}")
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_HEXADECIMAL: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
CODES: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Fa-f]{2,8}(?:[ ,;:|\n\-]{1,2}(?:0x)?[0-9A-Fa-f]{2,8}){5,}(?![0-9A-Za-z])"
)
_CODE: Final = re.compile(r"[0-9A-Fa-f]{2,8}")
_BASES: Final = {8: 2, 7: 2, 2: 16, 3: 10}
"""Base of a list of codes by the digits of each."""
_LAYERS: Final = 3
"""Encodings laid over each other that are taken off."""
_LEGIBLE: Final = 0.85
_LAST_CODE_POINT: Final = 0x10FFFF


def unescape(text: str) -> str:
    """Take off what is written in codes, also where they are laid over each other."""
    for _ in range(_LAYERS):
        before = text
        if "%" in text:
            text = urllib.parse.unquote(text, errors="replace")
        if "&" in text:
            text = html.unescape(text)
        if "\\" in text or "U+" in text:
            text = _ESCAPE.sub(_escaped, text)
        if "=" in text:
            text = _QUOTED_PRINTABLE.sub(
                lambda match: _legible(bytes.fromhex(match[0].replace("=", "")), match[0]), text
            )
        text = CODES.sub(_listed, text)
        text = _ENCODED.sub(_decoded, text)
        if text == before:
            break
    return _TAG.sub("", text) if "<" in text else text


def _escaped(match: re.Match[str]) -> str:
    *hexadecimal, octal = match.groups()
    code = int(octal, 8) if octal else int(next(filter(None, hexadecimal)), 16)
    return chr(code) if code <= _LAST_CODE_POINT else match[0]


def _listed(match: re.Match[str]) -> str:
    """A list of the codes of characters, in the base that their length tells or in decimal."""
    codes = _CODE.findall(match[0].replace("0x", ""))
    bases = {_BASES.get(len(code), 10) for code in codes}
    for base in (bases if len(bases) == 1 else {10}) | {10}:
        try:
            return _legible(bytes(int(code, base) for code in codes), match[0])
        except ValueError:
            continue
    return match[0]


def _decoded(match: re.Match[str]) -> str:
    """A long run of base64 or hexadecimal digits as what it says, where that is text."""
    run = match[0]
    try:
        if _HEXADECIMAL.fullmatch(run):
            return _legible(bytes.fromhex(run), run)
        stripped = run.rstrip("=")
        return _legible(base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True), run)
    except binascii.Error:
        return run


def _legible(content: bytes, otherwise: str) -> str:
    """The content where it is a text, set apart by spaces; else what it was decoded from."""
    try:
        decoded = content.decode()
    except UnicodeDecodeError:
        return otherwise
    legible = sum(c.isalpha() or c.isspace() for c in decoded)
    return f" {decoded} " if legible >= _LEGIBLE * len(decoded) else otherwise

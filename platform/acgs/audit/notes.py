"""Signed notes and verifier keys as in C2SP signed-note: text, a blank line, and Ed25519 signature lines."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from acgs.audit.keys import PublicKey, SigningKey
from acgs.errors import IntegrityError, InvalidInputError

ED25519_ALGORITHM = b"\x01"
KEY_HASH_BYTES = 4
MAX_SIGNATURES = 100
SIGNATURE_PREFIX = "\u2014 "


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named public key, written `name+hash+base64(algorithm || key)`."""

    name: str
    public: PublicKey

    def __post_init__(self) -> None:
        checked_name(self.name)

    @property
    def key_hash(self) -> bytes:
        """The four bytes that tell keys of one name apart."""
        return sha256(self.name.encode() + b"\n" + ED25519_ALGORITHM + self.public.raw).digest()[:KEY_HASH_BYTES]

    def __str__(self) -> str:
        encoded = base64.b64encode(ED25519_ALGORITHM + self.public.raw).decode("ascii")
        return f"{self.name}+{self.key_hash.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Parse the textual form. Raises `InvalidInputError` if it is malformed or its hash does not fit."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise InvalidInputError("a verifier key has the form name+hash+base64; copy it whole")
        name, key_hash, encoded = parts
        data = decode_base64(encoded, "verifier key")
        if data[:1] != ED25519_ALGORITHM:
            raise InvalidInputError("the verifier key is not an Ed25519 note key (algorithm 0x01)")
        key = cls(name, PublicKey(data[1:]))
        if key_hash != key.key_hash.hex():
            raise InvalidInputError("the verifier key's hash does not fit its name and key; copy it whole")
        return key


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note's text (with its final newline) and the trusted keys that signed it."""

    text: str
    signers: tuple[VerifierKey, ...]


def sign_note(text: str, name: str, key: SigningKey) -> str:
    """Return `text` as a note signed under `name`. Raises `InvalidInputError` if it cannot be a note's text."""
    _check_text(text)
    verifier = VerifierKey(name, key.public)
    signature = base64.b64encode(verifier.key_hash + key.sign(text.encode())).decode("ascii")
    return f"{text}\n{SIGNATURE_PREFIX}{name} {signature}\n"


def open_note(note: str, trusted: Sequence[VerifierKey]) -> OpenedNote:
    """Return the text of a note that at least one trusted key signed.

    Signatures of unknown keys are ignored. Raises `IntegrityError` if a trusted key's signature is wrong or no trusted
    key signed, `InvalidInputError` if the note is malformed.
    """
    text, lines = _split_note(note)
    signers: list[VerifierKey] = []
    for line in lines:
        name, key_hash, signature = _parse_signature(line)
        for key in trusted:
            if (key.name, key.key_hash) != (name, key_hash) or key in signers:
                continue
            if not key.public.verify(signature, text.encode()):
                raise IntegrityError(f"the signature of {name} does not fit the note: it was altered")
            signers.append(key)
    if not signers:
        raise IntegrityError("no trusted key signed the note; give the log's public key or reject the note")
    return OpenedNote(text, tuple(signers))


def checked_name(name: str) -> str:
    """Return `name` if a key may have it. Raises `InvalidInputError` if not."""
    if not _is_name(name):
        raise InvalidInputError("a key or log name is not empty and holds neither spaces nor '+'")
    return name


def decode_base64(text: str, what: str) -> bytes:
    """Decode standard base64 strictly. Raises `InvalidInputError` that names `what`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidInputError(f"the {what} is not base64; copy it whole") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise InvalidInputError(f"the {what} is not canonical base64; copy it unchanged")
    return data


def _split_note(note: str) -> tuple[str, list[str]]:
    head, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise InvalidInputError("a signed note is text, a blank line and signature lines; this is none")
    text = head + "\n"
    _check_text(text)
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise InvalidInputError(f"a signed note may hold {MAX_SIGNATURES} signatures; this one has {len(lines)}")
    return text, lines


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    name, separator, encoded = line.removeprefix(SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(SIGNATURE_PREFIX) or not separator or not _is_name(name):
        raise InvalidInputError("a signature line of the note is malformed")
    data = decode_base64(encoded, "note's signature")
    if len(data) <= KEY_HASH_BYTES:
        raise InvalidInputError("a signature of the note is too short")
    return name, data[:KEY_HASH_BYTES], data[KEY_HASH_BYTES:]


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(ord(character) < 0x20 and character != "\n" for character in text):
        raise InvalidInputError("a note's text ends with a newline and holds no control characters")


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)

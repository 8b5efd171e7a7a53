"""Signed notes against the example that the Go checksum database's note package publishes."""

from __future__ import annotations

import pytest

from acgs.audit.checkpoints import Checkpoint, open_checkpoint, sign_checkpoint
from acgs.audit.keys import SigningKey
from acgs.audit.merkle import EMPTY_ROOT
from acgs.audit.notes import VerifierKey, open_note, sign_note
from acgs.errors import IntegrityError, InvalidInputError

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    TEXT + "\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_published_note_opens_with_its_published_key() -> None:
    key = VerifierKey.parse(PETER)
    opened = open_note(NOTE, [key])
    assert (opened.text, opened.signers) == (TEXT, (key,))
    assert str(key) == PETER


def test_an_altered_note_is_refused() -> None:
    with pytest.raises(IntegrityError, match="altered"):
        open_note(NOTE.replace("answer", "reason"), [VerifierKey.parse(PETER)])


def test_a_note_of_unknown_signers_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no trusted key"):
        open_note(NOTE, [VerifierKey("PeterNeumann", SigningKey.generate().public)])


def test_a_second_signature_by_an_unknown_key_does_no_harm() -> None:
    mine = sign_note("hello\n", "me", key := SigningKey.generate())
    witness = sign_note("hello\n", "witness", SigningKey.generate()).rpartition("\n\n")[2]
    assert open_note(mine + witness, [VerifierKey("me", key.public)]).text == "hello\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name+c74f20a3",
        PETER.replace("c74f20a3", "c74f20a4"),
        PETER.replace("PeterNeumann", "PeterNewman"),
        PETER[:-4],
        PETER.replace("+ARpc", "+AhPc"),
        "a b+00000000+AAAA",
    ],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        VerifierKey.parse(text)


@pytest.mark.parametrize("note", ["", "text\n", TEXT + "\n", NOTE[:-1], NOTE.replace("\u2014", "-"), "\ttext" + NOTE])
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(InvalidInputError):
        open_note(note, [VerifierKey.parse(PETER)])


def test_a_checkpoint_has_the_three_lines_of_the_standard() -> None:
    key = SigningKey.generate()
    checkpoint = Checkpoint("example.com/log", 0, EMPTY_ROOT)
    note = sign_checkpoint(checkpoint, key)
    body, _, signature = note.partition("\n\n")
    assert body == "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert signature.startswith("\u2014 example.com/log ")
    assert open_checkpoint(note, [VerifierKey("example.com/log", key.public)]) == checkpoint


def test_a_checkpoint_signed_under_another_name_is_refused() -> None:
    key = SigningKey.generate()
    note = sign_note(Checkpoint("example.com/log", 0, EMPTY_ROOT).text(), "example.com/other", key)
    with pytest.raises(IntegrityError, match="another name"):
        open_checkpoint(note, [VerifierKey("example.com/other", key.public)])


@pytest.mark.parametrize("size", ["01", "-1", "", "1e3", "1 ", "\u0661"])
def test_a_checkpoint_size_in_another_notation_is_refused(size: str) -> None:
    with pytest.raises(InvalidInputError):
        Checkpoint.parse(f"origin\n{size}\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acgs.constitution.canonical import digest
from acgs.constitution.lock import LockedConstitution, read_lock, write_lock
from acgs.constitution.source import LOCK_NAME, load_locked, read_document
from acgs.errors import ConstitutionMismatchError, InvalidInputError


def test_the_shipped_constitution_is_the_one_that_was_locked(constitution: LockedConstitution) -> None:
    assert constitution.label == "cdd01ef066bc6cf2"
    assert constitution.digest == digest(constitution.document)


def test_an_edited_document_does_not_load_under_the_old_lock(edit: Callable[..., Path]) -> None:
    folder = edit(lambda raw: raw["rules"][0].update(severity="minor"))
    with pytest.raises(ConstitutionMismatchError, match="acgs constitution diff"):
        load_locked(folder)


def test_without_a_lock_nothing_loads(folder: Path) -> None:
    (folder / LOCK_NAME).unlink()
    with pytest.raises(ConstitutionMismatchError, match="acgs constitution lock"):
        load_locked(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"label": "x"}', "not json"])
def test_a_broken_lock_is_refused(folder: Path, content: str) -> None:
    (folder / LOCK_NAME).write_text(content)
    with pytest.raises(ConstitutionMismatchError, match="not a constitution lock"):
        load_locked(folder)


def test_a_lock_with_a_field_of_its_own_is_refused(folder: Path) -> None:
    path = folder / LOCK_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "trust me"}))
    with pytest.raises(ConstitutionMismatchError):
        load_locked(folder)


def test_a_new_lock_puts_an_edited_document_in_force(edit: Callable[..., Path]) -> None:
    folder = edit(lambda raw: raw.update(version="1.1.0"))
    lock = write_lock(read_document(folder), folder / LOCK_NAME)
    loaded = load_locked(folder)
    assert lock.label == lock.digest[:16]
    assert (loaded.label, loaded.digest, loaded.document.version) == (lock.label, lock.digest, "1.1.0")
    assert read_lock(folder / LOCK_NAME) == lock


@pytest.mark.parametrize("label", ["CDD01EF066BC6CF2", "cdd0", "g" * 16, "0" * 17])
def test_a_label_is_16_lower_case_hex_digits(folder: Path, label: str) -> None:
    before = (folder / LOCK_NAME).read_bytes()
    with pytest.raises(InvalidInputError) as refused:
        write_lock(read_document(folder), folder / LOCK_NAME, label=label)
    assert refused.value.field == "label"
    assert (folder / LOCK_NAME).read_bytes() == before


def test_requests_may_name_the_label_or_the_digest_and_nothing_else(constitution: LockedConstitution) -> None:
    constitution.require(constitution.label)
    constitution.require(constitution.digest)
    for name in ("", constitution.label[:-1], constitution.label.upper(), constitution.digest[:17], "0" * 16):
        assert not constitution.accepts(name)
        with pytest.raises(ConstitutionMismatchError, match=constitution.label) as refused:
            constitution.require(name)
        assert refused.value.field == "constitutional_hash"


def test_two_locks_of_one_document_are_equal_byte_for_byte(constitution: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_lock(constitution.document, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

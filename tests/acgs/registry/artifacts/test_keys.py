"""The contract of every key provider, and the key file itself."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.registry.artifacts.keys import KeyFile, KeyProvider
from acgs.registry.artifacts.kms_keys import KmsKeys
from acgs.registry.artifacts.manifest import WrappedKey

KEY = bytes(range(32))


def test_a_wrapped_key_comes_back_and_does_not_show(keys: KeyProvider) -> None:
    wrapped = keys.wrap(KEY)
    assert wrapped.key_id == keys.key_id
    assert KEY.hex() not in wrapped.data
    assert keys.unwrap(WrappedKey.model_validate_json(wrapped.model_dump_json())) == KEY


def test_a_changed_wrapped_key_does_not_open(keys: KeyProvider) -> None:
    wrapped = keys.wrap(KEY)
    last = "0" if wrapped.data[-1] != "0" else "1"
    with pytest.raises(IntegrityError) as raised:
        keys.unwrap(wrapped.model_copy(update={"data": wrapped.data[:-1] + last}))
    assert raised.value.field == "key"


def test_a_key_that_the_provider_does_not_have_is_named(keys: KeyProvider) -> None:
    with pytest.raises(UnavailableError, match="feedfeedfeedfeed"):
        keys.unwrap(keys.wrap(KEY).model_copy(update={"key_id": "feedfeedfeedfeed"}))


def test_a_rotated_key_file_opens_what_it_wrapped_before(tmp_path: Path) -> None:
    path = tmp_path / "artifacts.key"
    elsewhere, keys = KeyFile.load_or_create(path), KeyFile.load_or_create(path)
    before, old = keys.wrap(KEY), keys.key_id
    assert keys.rotate() == keys.key_id != old
    assert keys.unwrap(before) == KEY
    # A process that read the file before the rotation reads it again.
    assert elsewhere.unwrap(keys.wrap(KEY)) == KEY
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_cannot_be_locked_is_not_relied_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyFile.load_or_create(tmp_path / "artifacts.key")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UnavailableError, match="cannot be locked"), keys.kept():
        pass
    with pytest.raises(UnavailableError, match="cannot be locked"):
        keys.rotate()


def test_a_key_is_kept_through_a_link_too(tmp_path: Path) -> None:
    real, link = tmp_path / "secrets" / "real.key", tmp_path / "artifacts.key"
    real.parent.mkdir()
    shared = KeyFile.load_or_create(real)
    link.symlink_to(real)
    keys, done = KeyFile(link), threading.Event()
    rotation = threading.Thread(target=lambda: (shared.rotate(), done.set()))
    with keys.kept():
        wrapped = keys.wrap(KEY)
        rotation.start()
        assert not done.wait(0.3)
    rotation.join()
    keys.rotate()
    assert (link.is_symlink(), len(KeyFile(real).key_ids())) == (True, 3)
    assert shared.unwrap(keys.wrap(KEY)) == shared.unwrap(wrapped) == KEY


def test_of_two_rotations_at_once_no_key_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "artifacts.key"
    KeyFile.load_or_create(path)
    with ThreadPoolExecutor(8) as processes:
        wrapped = list(processes.map(lambda _n: rotated(path).wrap(KEY), range(8)))
    assert {KeyFile(path).unwrap(one) for one in wrapped} == {KEY}
    assert len({one.key_id for one in wrapped}) == 8


def rotated(path: Path) -> KeyFile:
    keys = KeyFile(path)
    keys.rotate()
    return keys


def test_processes_that_start_together_agree_on_one_key_file(tmp_path: Path) -> None:
    path, start = tmp_path / "artifacts.key", threading.Barrier(8)

    def started(_process: int) -> str:
        start.wait(10)
        return KeyFile.load_or_create(path).key_id

    with ThreadPoolExecutor(8) as processes:
        assert len(set(processes.map(started, range(8)))) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["artifacts.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "artifacts.key"
    KeyFile.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(IntegrityError, match="chmod 600"):
        KeyFile(path)


@pytest.mark.parametrize("content", [b"", b"no key", b"acgs-artifact-key-1 c2hvcnQ=\n", b"\xff\xfe", b"other AAAA"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "artifacts.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InvalidInputError, match=r"artifacts\.key"):
        KeyFile(path)


def test_an_absent_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"artifacts\.key"):
        KeyFile(tmp_path / "artifacts.key")


def test_an_alias_that_moved_wraps_with_the_new_key_and_opens_what_the_old_one_wrapped(
    aws: str, credentials: None
) -> None:
    service = boto3.client("kms", endpoint_url=aws)
    old, new = (service.create_key()["KeyMetadata"] for _ in range(2))
    service.create_alias(AliasName="alias/moving", TargetKeyId=old["KeyId"])
    keys = KmsKeys("alias/moving", endpoint=aws)
    before = keys.wrap(KEY)
    service.update_alias(AliasName="alias/moving", TargetKeyId=new["KeyId"])
    assert (before.key_id, keys.key_id, keys.wrap(KEY).key_id) == (old["Arn"], new["Arn"], new["Arn"])
    assert keys.unwrap(before) == KEY


def test_a_disabled_key_and_a_silent_service_are_told(aws: str, credentials: None) -> None:
    admin = boto3.client("kms", endpoint_url=aws)
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    with pytest.raises(UnavailableError, match="does not answer"):
        KmsKeys(key_id, endpoint="http://127.0.0.1:9", connect_seconds=0.2, read_seconds=0.2).wrap(KEY)
    with pytest.raises(UnavailableError, match="refuses to encrypt"):
        KmsKeys("alias/none", endpoint=aws).wrap(KEY)

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from acgs.audit.keys import PublicKey, SigningKey
from acgs.audit.layout import AuditDirectory
from acgs.audit.notes import VerifierKey
from acgs.audit.trust import publish_key, published_keys, trusted_keys
from acgs.errors import IntegrityError, InvalidInputError, UnavailableError


def test_a_created_key_is_private_to_its_owner_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"
    created = SigningKey.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load_or_create(path).public.raw == created.public.raw
    assert [entry.name for entry in path.parent.iterdir()] == ["signing.pem"]


def test_replicas_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    path, start = tmp_path / "signing.pem", threading.Barrier(8)

    def started(_replica: int) -> bytes:
        start.wait(10)
        return SigningKey.load_or_create(path).public.raw

    with ThreadPoolExecutor(8) as replicas:
        assert len(set(replicas.map(started, range(8)))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "signing.pem"
    SigningKey.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(IntegrityError, match="chmod 600"):
        SigningKey.load(path)


def test_a_file_without_an_ed25519_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    with pytest.raises(UnavailableError):
        SigningKey.load(path)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for content in (b"no key", other):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(InvalidInputError):
            SigningKey.load(path)


def test_an_exported_public_key_verifies_what_the_signing_key_signed() -> None:
    key = SigningKey.generate()
    public = PublicKey.from_pem(key.public.pem())
    assert public.key_id == key.public.key_id
    assert public.verify(key.sign(b"message"), b"message")
    assert not public.verify(key.sign(b"message"), b"messagf")


def test_trusted_keys_come_as_text_as_files_and_as_pem(tmp_path: Path) -> None:
    first, second = SigningKey.generate().public, SigningKey.generate().public
    (tmp_path / "second.pem").write_text(second.pem())
    keys = trusted_keys([str(VerifierKey("log", first)), str(tmp_path / "second.pem")], "log")
    assert [(key.name, key.public.raw) for key in keys] == [("log", first.raw), ("log", second.raw)]
    with pytest.raises(InvalidInputError):
        trusted_keys([str(tmp_path / "absent.pem")], "log")


def test_published_keys_keep_the_earlier_ones(tmp_path: Path) -> None:
    audit = AuditDirectory(tmp_path)
    with pytest.raises(InvalidInputError, match="--public-key"):
        published_keys(audit)
    keys = [VerifierKey("log", SigningKey.generate().public) for _ in range(2)]
    for key in [*keys, keys[0]]:
        publish_key(audit, key)
    assert list(map(str, published_keys(audit))) == list(map(str, keys))

"""Signatures, against our own check and against the public `model-signing` tool."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from model_signing import hashing
from model_signing._signing.signing import Payload

from acgs.audit.keys import SigningKey
from acgs.errors import AcgsError, IntegrityError, InvalidInputError
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.artifacts.model_signature import sign_manifest, verify_folder, verify_manifest
from acgs.registry.artifacts.paths import SIGNATURE_FILE
from acgs.registry.artifacts.release_facts import sign_release_facts, verify_release_facts
from acgs.registry.artifacts.signing_keys import EcdsaPublicKey, ReleaseKeys, VerificationKeys
from acgs.registry.artifacts.store import ArtifactStore

DIGEST = "ab" * 32
FACTS = {"version": "1.4.0", "parent": None, "metrics": {"auc": 0.91}, "data": ["cd" * 32]}


@pytest.fixture
def release_keys(tmp_path: Path) -> ReleaseKeys:
    return ReleaseKeys.load_or_create(tmp_path / "signing.pem")


@pytest.fixture
def manifest(local_store: ArtifactStore, adapter: Path) -> Manifest:
    # Sorted by its name as text, this file would come before those in the folder `weights`.
    (adapter / "weights-note.txt").write_text("a note")
    (adapter / ".gitattributes").write_text("*.safetensors filter=lfs")
    return local_store.put(adapter)


@pytest.fixture
def signed(local_store: ArtifactStore, manifest: Manifest, release_keys: ReleaseKeys, tmp_path: Path) -> Path:
    folder = local_store.fetch(manifest, tmp_path / "fetched")
    (folder / SIGNATURE_FILE).write_bytes(sign_manifest(manifest, release_keys, name="triage"))
    return folder


def public_tool(folder: Path, keys: VerificationKeys) -> subprocess.CompletedProcess[str]:
    pem = folder.parent / "tool.pub.pem"
    pem.write_text(keys.ecdsa.pem)
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
    command += ["--signature", str(folder / SIGNATURE_FILE), "--public_key", str(pem)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_the_public_tool_accepts_a_fetched_model_and_refuses_one_flipped_byte(
    signed: Path, release_keys: ReleaseKeys
) -> None:
    accepted = public_tool(signed, release_keys.public)
    assert accepted.returncode == 0, accepted.stderr
    flip_last_byte(signed / "weights" / "adapter_model.safetensors")
    refused = public_tool(signed, release_keys.public)
    assert refused.returncode != 0
    assert "adapter_model.safetensors" in refused.stdout + refused.stderr


def test_the_public_tool_refuses_an_added_file_and_another_key(signed: Path, release_keys: ReleaseKeys) -> None:
    stranger = ReleaseKeys.load_or_create(signed.parent / "stranger.pem")
    assert public_tool(signed, stranger.public).returncode != 0
    (signed / "weights" / "extra.txt").write_text("more")
    assert public_tool(signed, release_keys.public).returncode != 0


def test_the_statement_is_the_one_that_the_public_tool_makes(signed: Path, release_keys: ReleaseKeys) -> None:
    ours = statement_of(signed)
    tool: Any = hashing.Config
    made = Payload(tool().set_ignored_paths(paths=[SIGNATURE_FILE]).hash(signed)).statement.pb
    theirs = {
        "name": made.subject[0].name,
        "digest": dict(made.subject[0].digest),
        "resources": [dict(resource) for resource in made.predicate["resources"]],
        "ignored": sorted(made.predicate["serialization"]["ignore_paths"]),
    }
    assert theirs["digest"] == ours["subject"][0]["digest"]
    assert theirs["resources"] == ours["predicate"]["resources"]
    assert theirs["ignored"] == sorted(ours["predicate"]["serialization"]["ignore_paths"])


def test_our_check_demands_both_signatures(signed: Path, manifest: Manifest, release_keys: ReleaseKeys) -> None:
    verify_folder(signed, release_keys.public)
    verify_manifest((signed / SIGNATURE_FILE).read_bytes(), manifest, release_keys.public)
    stranger = ReleaseKeys.load_or_create(signed.parent / "stranger.pem").public
    for keys in (
        VerificationKeys(stranger.ed25519, release_keys.public.ecdsa),
        VerificationKeys(release_keys.public.ed25519, stranger.ecdsa),
    ):
        with pytest.raises(IntegrityError, match="does not hold"):
            verify_folder(signed, keys)


@pytest.mark.parametrize("left", [[0], [1], [0, 0], [1, 0], [0, 1, 1]])
def test_one_signature_two_of_a_kind_or_a_third_is_not_enough(
    signed: Path, release_keys: ReleaseKeys, left: list[int]
) -> None:
    bundle = bundle_of(signed)
    signatures = bundle["dsseEnvelope"]["signatures"]
    bundle["dsseEnvelope"]["signatures"] = [signatures[index] for index in left]
    with pytest.raises(IntegrityError):
        verify_folder(signed, release_keys.public, bundle=json.dumps(bundle).encode())


@pytest.mark.parametrize("fault", ["flip", "remove", "add", "link", "unsigned"])
def test_a_folder_that_differs_from_what_was_signed_is_refused(
    signed: Path, release_keys: ReleaseKeys, fault: str
) -> None:
    config = signed / "adapter_config.json"
    match fault:
        case "flip":
            flip_last_byte(config)
        case "remove":
            config.unlink()
        case "add":
            (signed / "extra.txt").write_text("more")
        case "link":
            (signed / "link.json").symlink_to(config)
        case "unsigned":
            (signed / SIGNATURE_FILE).unlink()
    with pytest.raises(AcgsError):
        verify_folder(signed, release_keys.public)


def test_a_signature_belongs_to_its_own_manifest(
    local_store: ArtifactStore, manifest: Manifest, signed: Path, adapter: Path, release_keys: ReleaseKeys
) -> None:
    (adapter / "README.md").write_text("# Another\n")
    with pytest.raises(IntegrityError, match=r"README\.md"):
        verify_manifest((signed / SIGNATURE_FILE).read_bytes(), local_store.put(adapter), release_keys.public)


def test_a_bundle_that_was_changed_anywhere_is_refused(signed: Path, release_keys: ReleaseKeys) -> None:
    original = (signed / SIGNATURE_FILE).read_bytes()
    bundle = bundle_of(signed)
    payload = base64.b64encode(json.dumps({**statement_of(signed), "extra": 1}).encode()).decode()
    for change in (
        original[:-1],
        b"{}",
        b"\xff",
        original.replace(b'"mediaType"', b'"mediatype"'),
        original[:-1] + b',"extra":1}',
        json.dumps({**bundle, "dsseEnvelope": {**bundle["dsseEnvelope"], "payload": payload}}).encode(),
    ):
        with pytest.raises(IntegrityError):
            verify_folder(signed, release_keys.public, bundle=change)


def test_the_keys_are_private_files_side_by_side_and_found_again(tmp_path: Path) -> None:
    first = ReleaseKeys.load_or_create(tmp_path / "signing.pem")
    again = ReleaseKeys.load_or_create(tmp_path / "signing.pem")
    assert {entry.name: entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()} == {
        "signing.pem": 0o600,
        "signing.ecdsa.pem": 0o600,
    }
    assert again.public.ecdsa.hint == first.public.ecdsa.hint
    assert EcdsaPublicKey.from_pem(first.public.ecdsa.pem).hint == first.public.ecdsa.hint
    (tmp_path / "signing.ecdsa.pem").chmod(0o644)
    with pytest.raises(IntegrityError, match="chmod 600"):
        ReleaseKeys.load_or_create(tmp_path / "signing.pem")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    ReleaseKeys.load_or_create(tmp_path / "signing.pem")
    shutil.copy(tmp_path / "signing.pem", tmp_path / "signing.ecdsa.pem")
    with pytest.raises(InvalidInputError, match="no ECDSA key"):
        ReleaseKeys.load_or_create(tmp_path / "signing.pem")
    for text in ("no key", SigningKey.generate().public.pem()):
        with pytest.raises(InvalidInputError):
            EcdsaPublicKey.from_pem(text)


def test_signed_facts_come_back_for_their_own_artifact_only() -> None:
    key, other = SigningKey.generate(), SigningKey.generate()
    envelope = sign_release_facts(FACTS, key, subject="triage@1.4.0", digest=DIGEST)
    assert verify_release_facts(envelope, key.public, subject="triage@1.4.0", digest=DIGEST) == FACTS
    for public, subject, digest in (
        (other.public, "triage@1.4.0", DIGEST),
        (key.public, "triage@1.4.1", DIGEST),
        (key.public, "triage@1.4.0", "cd" * 32),
    ):
        with pytest.raises(IntegrityError):
            verify_release_facts(envelope, public, subject=subject, digest=digest)


def test_changed_facts_are_refused() -> None:
    key = SigningKey.generate()
    envelope = json.loads(sign_release_facts(FACTS, key, subject="triage@1.4.0", digest=DIGEST))
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["metrics"]["auc"] = 0.99
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    with pytest.raises(IntegrityError, match="does not hold"):
        verify_release_facts(json.dumps(envelope).encode(), key.public, subject="triage@1.4.0", digest=DIGEST)


def test_a_models_file_list_does_not_pass_for_facts(signed: Path, release_keys: ReleaseKeys) -> None:
    envelope = bundle_of(signed)["dsseEnvelope"]
    envelope["signatures"] = envelope["signatures"][1:]
    subject = statement_of(signed)["subject"][0]
    with pytest.raises(IntegrityError, match="no facts"):
        verify_release_facts(
            json.dumps(envelope).encode(),
            release_keys.public.ed25519,
            subject=subject["name"],
            digest=subject["digest"]["sha256"],
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1 << 60, object()])
def test_facts_without_a_canonical_form_are_not_signed(value: Any) -> None:
    with pytest.raises(InvalidInputError):
        sign_release_facts({"value": value}, SigningKey.generate(), subject="m@1.0.0", digest=DIGEST)


def bundle_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / SIGNATURE_FILE).read_bytes())
    return found


def statement_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(bundle_of(folder)["dsseEnvelope"]["payload"]))
    return found

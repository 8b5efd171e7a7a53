"""Statements that are rightly signed and yet say something that no verifier may accept."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acgs.errors import IntegrityError
from acgs.registry.artifacts.dsse import encoded, pae
from acgs.registry.artifacts.model_signature import PREDICATE_TYPE, sign_manifest, signed_files
from acgs.registry.artifacts.paths import SIGNATURE_FILE
from acgs.registry.artifacts.signing_keys import ReleaseKeys
from acgs.registry.artifacts.store import ArtifactStore

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def release_keys(tmp_path: Path) -> ReleaseKeys:
    return ReleaseKeys.load_or_create(tmp_path / "signing.pem")


@pytest.fixture
def bundle(local_store: ArtifactStore, adapter: Path, release_keys: ReleaseKeys) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sign_manifest(local_store.put(adapter), release_keys, name="triage"))
    return found


def signed_again(bundle: dict[str, Any], keys: ReleaseKeys, payload: bytes) -> bytes:
    """The bundle around another payload, both signatures made with the right keys."""
    made = copy.deepcopy(bundle)
    signatures = [keys.ecdsa.sign(pae(payload)), keys.ed25519.sign(pae(payload))]
    for signature, raw in zip(made["dsseEnvelope"]["signatures"], signatures, strict=True):
        signature["sig"] = encoded(raw)
    made["dsseEnvelope"]["payload"] = encoded(payload)
    return json.dumps(made).encode()


def statement(bundle: dict[str, Any]) -> dict[str, Any]:
    import base64

    found: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return found


def test_the_same_statement_signed_again_is_accepted(bundle: dict[str, Any], release_keys: ReleaseKeys) -> None:
    payload = json.dumps(statement(bundle)).encode()
    assert "README.md" in signed_files(signed_again(bundle, release_keys, payload), release_keys.public)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda made: made.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda made: made["subject"].append(made["subject"][0]),
        lambda made: made["subject"][0]["digest"].update(sha256="0" * 64),
        lambda made: made["predicate"]["resources"].reverse(),
        lambda made: made["predicate"]["resources"].append(made["predicate"]["resources"][-1]),
        lambda made: made["predicate"]["resources"].pop(),
        lambda made: made["predicate"]["resources"].clear(),
        lambda made: made["predicate"]["resources"][0].update(name="../README.md"),
        lambda made: made["predicate"]["resources"][0].update(algorithm="md5"),
        lambda made: made["predicate"]["serialization"]["ignore_paths"].append("weights"),
        lambda made: made["predicate"]["serialization"].update(allow_symlinks=True),
        lambda made: made["predicate"]["serialization"].update(method="shards"),
        lambda made: made["predicate"].update(more=1),
    ],
)
def test_a_signed_statement_that_is_not_a_plain_list_of_all_files_is_refused(
    bundle: dict[str, Any], release_keys: ReleaseKeys, change: Change
) -> None:
    made = statement(bundle)
    assert made["predicateType"] == PREDICATE_TYPE
    assert SIGNATURE_FILE in made["predicate"]["serialization"]["ignore_paths"]
    change(made)
    with pytest.raises(IntegrityError):
        signed_files(signed_again(bundle, release_keys, json.dumps(made).encode()), release_keys.public)


@pytest.mark.parametrize("payload", [b"", b"[]", b"not json", b'{"_type": 1, "_type": 2}', b"[" * 100_000])
def test_signed_bytes_that_are_no_statement_are_refused(
    bundle: dict[str, Any], release_keys: ReleaseKeys, payload: bytes
) -> None:
    with pytest.raises(IntegrityError):
        signed_files(signed_again(bundle, release_keys, payload), release_keys.public)

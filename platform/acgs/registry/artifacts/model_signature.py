"""The signature that lies beside a fetched model: `model.sig`, a Sigstore bundle in OpenSSF's model-signing format.

The payload is the statement that `model-signing` 1.1.1 itself makes (`_signing/signing.py`): every file with its
SHA-256, sorted by the parts of its path; the subject's digest is the SHA-256 over these digests in that order. The
envelope has two signatures: the first by ECDSA P-256, the only one that tool looks at, the second by our Ed25519 key.
Our own check demands both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

import rfc8785
from pydantic import Field, ValidationError

from acgs.errors import IntegrityError
from acgs.registry.artifacts.dsse import (
    Digest,
    Envelope,
    Part,
    Signature,
    Statement,
    Subject,
    encoded,
    pae,
    read_document,
    read_statement,
    statement_bytes,
)
from acgs.registry.artifacts.folder import folder_differences
from acgs.registry.artifacts.manifest import Manifest, Sha256
from acgs.registry.artifacts.paths import IGNORED, SIGNATURE_FILE, path_fault, sort_key
from acgs.registry.artifacts.signing_keys import ReleaseKeys, VerificationKeys

PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_WHAT: Final = "the model's signature"


class _PublicKey(Part):
    hint: Sha256


class _Material(Part):
    public_key: _PublicKey = Field(alias="publicKey")
    tlog_entries: tuple[()] = Field((), alias="tlogEntries")


class _Bundle(Part):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"] = Field(MEDIA_TYPE, alias="mediaType")
    material: _Material = Field(alias="verificationMaterial")
    envelope: Envelope = Field(alias="dsseEnvelope")


class _Resource(Part):
    name: str
    algorithm: Literal["sha256"] = "sha256"
    digest: Sha256


class _Serialization(Part):
    method: Literal["files"] = "files"
    hash_type: Literal["sha256"] = "sha256"
    allow_symlinks: Literal[False] = False
    # More ignored names than these would let unsigned files pass the public tool.
    ignore_paths: tuple[Literal[".git", ".gitattributes", ".github", ".gitignore", "model.sig"], ...] = IGNORED


class _Predicate(Part):
    serialization: _Serialization
    resources: tuple[_Resource, ...] = Field(min_length=1)


def sign_manifest(manifest: Manifest, keys: ReleaseKeys, *, name: str) -> bytes:
    """The bundle for an artifact, to be written to `model.sig` in its folder; `name` is the model's, for people."""
    files = [(entry.path, entry.sha256) for entry in manifest.files]
    predicate = _Predicate(
        serialization=_Serialization(),
        resources=tuple(_Resource(name=path, digest=sha256) for path, sha256 in files),
    )
    statement = Statement(
        subject=(Subject(name=name, digest=Digest(sha256=_root(sha256 for _, sha256 in files))),),
        predicate_type=PREDICATE_TYPE,
        predicate=predicate.model_dump(mode="json"),
    )
    payload = statement_bytes(statement)
    message = pae(payload)
    envelope = Envelope(
        payload=encoded(payload),
        signatures=(
            Signature(sig=encoded(keys.ecdsa.sign(message))),
            Signature(sig=encoded(keys.ed25519.sign(message)), keyid=keys.ed25519.public.key_id),
        ),
    )
    bundle = _Bundle(material=_Material(public_key=_PublicKey(hint=keys.ecdsa.public.hint)), envelope=envelope)
    return rfc8785.dumps(bundle.model_dump(mode="json", by_alias=True))


def verify_manifest(bundle: bytes, manifest: Manifest, keys: VerificationKeys) -> None:
    """Check that both keys signed exactly the files of a manifest.

    Raises:
        IntegrityError: a signature is missing or does not hold, or the files are others.
    """
    signed = signed_files(bundle, keys)
    found = {entry.path: entry.sha256 for entry in manifest.files}
    if signed != found:
        other = min(path for path in signed.keys() | found.keys() if signed.get(path) != found.get(path))
        raise IntegrityError(f"{other!r} of the artifact is not what was signed", field="signature")


def verify_folder(folder: Path, keys: VerificationKeys, *, bundle: bytes | None = None) -> None:
    """Check that both keys signed exactly the files in a folder; every file is read.

    Args:
        bundle: the signature; by default `model.sig` in the folder.

    Raises:
        IntegrityError: a signature is missing or does not hold, or a file is missing, changed or one too many.
        InvalidInputError: the folder holds a link, a device or nothing.
    """
    if bundle is None:
        try:
            bundle = (folder / SIGNATURE_FILE).read_bytes()
        except OSError:
            raise IntegrityError(f"{folder.name} has no {SIGNATURE_FILE} that can be read", field="signature") from None
    if differences := folder_differences(folder, signed_files(bundle, keys)):
        raise IntegrityError(f"{folder.name} is not what was signed: {'; '.join(differences[:5])}", field="signature")


def signed_files(bundle: bytes, keys: VerificationKeys) -> dict[str, str]:
    """The files (path to SHA-256) that both keys signed.

    Raises:
        IntegrityError: a signature is missing or does not hold, or what was signed is no signature of a model.
    """
    envelope = read_document(bundle, _Bundle, _WHAT).envelope
    _demand_both(envelope, keys)
    statement = read_statement(envelope)
    if statement.predicate_type != PREDICATE_TYPE:
        raise IntegrityError("what was signed is no list of a model's files", field="signature")
    predicate = _predicate(statement.predicate)
    names = [resource.name for resource in predicate.resources]
    if any(path_fault(name) for name in names) or names != sorted(set(names), key=sort_key):
        raise IntegrityError("the signed files are not sorted, or one has a name that climbs out", field="signature")
    if statement.subject[0].digest.sha256 != _root(resource.digest for resource in predicate.resources):
        raise IntegrityError("the signed digest is not that of the signed files", field="signature")
    return {resource.name: resource.digest for resource in predicate.resources}


def _demand_both(envelope: Envelope, keys: VerificationKeys) -> None:
    if len(envelope.signatures) != 2:
        raise IntegrityError("a model's signature is one by ECDSA and one by Ed25519", field="signature")
    ecdsa, ed25519 = (signature.raw for signature in envelope.signatures)
    message = envelope.message
    for kind, holds in (
        ("ECDSA", keys.ecdsa.verify(ecdsa, message)),
        ("Ed25519", keys.ed25519.verify(ed25519, message)),
    ):
        if not holds:
            raise IntegrityError(
                f"the {kind} signature does not hold: the model was signed by another, or the signature was changed",
                field="signature",
            )


def _predicate(found: dict[str, Any]) -> _Predicate:
    try:
        return _Predicate.model_validate(found)
    except ValidationError:
        raise IntegrityError("what was signed is no list of a model's files", field="signature") from None


def _root(digests: Iterable[str]) -> str:
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()

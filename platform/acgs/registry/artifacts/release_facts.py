"""The second statement about a version: what is claimed of it beside its files, signed with Ed25519.

Its subject is the digest of the manifest, so facts cannot be moved to another artifact. It stands apart from
`model.sig`, because verifiers of that format are to ignore what they do not know, and these facts must not be ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import rfc8785

from acgs.audit.keys import PublicKey, SigningKey
from acgs.errors import IntegrityError
from acgs.registry.artifacts.dsse import (
    Digest,
    Envelope,
    Signature,
    Statement,
    Subject,
    encoded,
    pae,
    read_document,
    read_statement,
    statement_bytes,
)

PREDICATE_TYPE: Final = "urn:acgs:model-version:v1"


def sign_release_facts(facts: Mapping[str, Any], key: SigningKey, *, subject: str, digest: str) -> bytes:
    """A DSSE envelope (JSON) over the facts.

    Args:
        facts: JSON values: version, constitution digest, parent, metrics, data digests, commit.
        subject: what they are about, such as `triage@1.4.0`.
        digest: `Manifest.digest` of its artifact.

    Raises:
        InvalidInputError: the facts have no canonical JSON form.
    """
    statement = Statement(
        subject=(Subject(name=subject, digest=Digest(sha256=digest)),),
        predicate_type=PREDICATE_TYPE,
        predicate=dict(facts),
    )
    payload = statement_bytes(statement)
    signature = Signature(sig=encoded(key.sign(pae(payload))), keyid=key.public.key_id)
    return rfc8785.dumps(
        Envelope(payload=encoded(payload), signatures=(signature,)).model_dump(mode="json", by_alias=True)
    )


def verify_release_facts(envelope: bytes, key: PublicKey, *, subject: str, digest: str) -> dict[str, Any]:
    """The facts, if `key` signed them for this subject and artifact.

    Raises:
        IntegrityError: the signature does not hold, or is about something else.
    """
    read = read_document(envelope, Envelope, "the version's signed facts")
    if len(read.signatures) != 1 or not key.verify(read.signatures[0].raw, read.message):
        raise IntegrityError("the signature of the version's facts does not hold", field="signature")
    statement = read_statement(read)
    if statement.predicate_type != PREDICATE_TYPE:
        raise IntegrityError("what was signed are no facts of a version", field="signature")
    about = statement.subject[0]
    if about.name != subject or about.digest.sha256 != digest:
        raise IntegrityError(f"the signed facts are about {about.name!r} or another artifact of it", field="signature")
    return statement.predicate

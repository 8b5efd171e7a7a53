"""Signing the documents on which a release rests, and checking them again."""

from __future__ import annotations

import base64
import binascii

from acgs.audit.keys import PublicKey, SigningKey
from acgs.errors import IntegrityError
from acgs.serving.deployments.documents import Document, SignedDocument


def sign_document(document: Document, key: SigningKey) -> SignedDocument:
    """The document with an Ed25519 signature over its canonical JSON."""
    signature = base64.b64encode(key.sign(document.canonical())).decode()
    return SignedDocument(document=document, key_id=key.public.key_id, signature=signature)


def verify_document(signed: SignedDocument, key: PublicKey) -> Document:
    """The document, if the key signed it.

    Raises:
        IntegrityError: it did not, or the document was changed.
    """
    try:
        signature = base64.b64decode(signed.signature, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if not key.verify(signature, signed.document.canonical()):
        raise IntegrityError(
            f"the {signed.document.kind} document of {signed.document.model} {signed.document.version} was changed, or "
            "signed by another key",
            field="signature",
        )
    return signed.document

"""Signing the documents on which a release rests, and checking them again."""

from __future__ import annotations

from acgs.audit.keys import PublicKey, SigningKey
from acgs.errors import IntegrityError
from acgs.serving.deployments.documents import Document, SignedDocument


def sign_document(document: Document, key: SigningKey) -> SignedDocument:
    """The document with an Ed25519 signature over its canonical JSON."""
    signature = key.sign_text(document.canonical())
    return SignedDocument(document=document, key_id=key.public.key_id, signature=signature)


def verify_document(signed: SignedDocument, key: PublicKey) -> Document:
    """The document, if the key signed it.

    Raises:
        IntegrityError: it did not, or the document was changed.
    """
    if not key.verify_text(signed.signature, signed.document.canonical()):
        raise IntegrityError(
            f"the {signed.document.kind} document of {signed.document.model} {signed.document.version} was changed, or "
            "signed by another key",
            field="signature",
        )
    return signed.document

"""Signing the documents on which a release rests, and checking them again."""

from __future__ import annotations

from acgs.audit.keys import SigningKey
from acgs.errors import IntegrityError
from acgs.release.trust import Trust
from acgs.serving.deployments.documents import Document, SignedDocument


def sign_document(document: Document, key: SigningKey) -> SignedDocument:
    """The document with an Ed25519 signature over its canonical JSON."""
    signature = key.sign_text(document.canonical())
    return SignedDocument(document=document, key_id=key.public.key_id, signature=signature)


def verify_document(signed: SignedDocument, trust: Trust) -> Document:
    """The document, if a key that counts for it signed it.

    Raises:
        IntegrityError: none did, or the document was changed.
    """
    document = signed.document
    if not trust.verifies(document.digest(), signed.signature, document.canonical()):
        raise IntegrityError(
            f"the {document.kind} document of {document.model} {document.version} was changed, or signed by another "
            "key, or by a retired one without the audit log holding it from before",
            field="signature",
        )
    return document

"""Canonical bytes and digest of a document (RFC 8785, SHA-256)."""

from __future__ import annotations

import hashlib

import rfc8785

from acgs.constitution.document import Constitution

LABEL_LENGTH = 16


def canonical_bytes(constitution: Constitution) -> bytes:
    """The one byte form of the whole document; two documents that behave alike in every field share it."""
    return rfc8785.dumps(constitution.model_dump(mode="json"))


def digest(constitution: Constitution) -> str:
    """SHA-256 of the canonical bytes, 64 hex digits."""
    return hashlib.sha256(canonical_bytes(constitution)).hexdigest()


def label_of(document_digest: str) -> str:
    """The label of a new constitution: the first 16 hex digits of its digest."""
    return document_digest[:LABEL_LENGTH]

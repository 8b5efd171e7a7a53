"""Where an installation keeps its audit log and its signing key."""

from __future__ import annotations

from pathlib import Path

from acgs.audit.keys import SigningKey
from acgs.audit.layout import AuditDirectory
from acgs.settings import Settings

AUDIT_FOLDER = "audit"


def audit_directory(settings: Settings) -> AuditDirectory:
    """Where the audit log of an installation lies."""
    return AuditDirectory(settings.state_dir.resolve() / AUDIT_FOLDER)


def signing_key_path(settings: Settings, audit: AuditDirectory) -> Path:
    """The file of the key of receipts and checkpoints: the configured one, or the audit directory's own."""
    return settings.signing_key_path or audit.signing_key


def signing_key(settings: Settings) -> SigningKey:
    """The key of receipts and checkpoints: the configured file, or one made on first use."""
    path = signing_key_path(settings, audit_directory(settings))
    path.parent.mkdir(parents=True, exist_ok=True)
    return SigningKey.load_or_create(path)

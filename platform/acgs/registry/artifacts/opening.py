"""Opens the artifact store that the settings name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from acgs.errors import InvalidInputError
from acgs.registry.artifacts.blobs import BlobStore
from acgs.registry.artifacts.keys import KeyFile, KeyProvider
from acgs.registry.artifacts.local_blobs import LocalBlobs
from acgs.registry.artifacts.store import ArtifactStore
from acgs.settings import Settings

FOLDER: Final = "artifacts"
KEY_FILE: Final = Path("keys") / "artifacts.key"
_KMS: Final = "awskms:"
_BUCKET: Final = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")


def open_store(settings: Settings) -> ArtifactStore:
    """The configured store with its keys; folders and the key file are made on first use.

    Raises:
        InvalidInputError: a setting cannot be used, or boto3 is missing.
        UnavailableError, IntegrityError: the folder or the key file cannot be used.
    """
    return ArtifactStore(open_blobs(settings), open_keys(settings))


def open_blobs(settings: Settings) -> BlobStore:
    """Where the bytes are: `ACGS_ARTIFACTS`, a folder or s3://bucket/prefix."""
    url = settings.artifacts
    if url is None:
        return LocalBlobs(settings.state_dir / FOLDER)
    if "://" not in url:
        return LocalBlobs(Path(url))
    parts = urlsplit(url)
    if parts.scheme != "s3" or not _BUCKET.match(parts.netloc) or parts.query or parts.fragment:
        raise InvalidInputError("ACGS_ARTIFACTS is a folder or s3://bucket/prefix", field="ACGS_ARTIFACTS")
    # boto3 takes a while to import, and most installations have no bucket.
    from acgs.registry.artifacts.s3_blobs import S3Blobs, S3Options

    return S3Blobs(S3Options(parts.netloc, parts.path.strip("/"), _endpoint(settings)))


def open_keys(settings: Settings) -> KeyProvider:
    """Who wraps the keys: `ACGS_ARTIFACT_KEY`, a file or awskms:<key>; by default a file made on first use."""
    named = settings.artifact_key
    if named is not None and named.startswith(_KMS):
        from acgs.registry.artifacts.kms_keys import KmsKeys

        return KmsKeys(named.removeprefix(_KMS))
    path = Path(named) if named is not None else settings.state_dir.resolve() / KEY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    return KeyFile.load_or_create(path)


def _endpoint(settings: Settings) -> str | None:
    url = settings.s3_endpoint
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise InvalidInputError(
            "ACGS_S3_ENDPOINT is http(s)://host:port without a password; credentials come from the environment",
            field="ACGS_S3_ENDPOINT",
        )
    return url

"""Blobs in a bucket of S3 or of a store that speaks its protocol, by boto3.

Blobs are written with `If-None-Match: *`, so that none is ever replaced; a pointer with `If-Match` on its tag. A chunk
is one request (4 MiB and a little), so there are no half-written uploads to clear away.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from acgs.errors import InvalidInputError
from acgs.registry.artifacts.blobs import (
    MAX_BLOB_BYTES,
    Listed,
    Pointer,
    Stored,
    changed,
    check_name,
    missing,
    oversize,
)
from acgs.registry.artifacts.s3_failures import (
    ABSENT,
    CONFLICT,
    TAKEN,
    broken_streams,
    failures,
    is_no_bucket,
    status_of,
)

_DIGEST: Final = "sha256"
_TOUCH_AFTER: Final = timedelta(minutes=10)
"""A younger blob is left: a copy onto itself costs a request."""
_FIRST_WAIT_SECONDS: Final = 0.05

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where a bucket is and how long it is waited for. Credentials come from boto3's usual places, never from here."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    tries: int = 4
    connections: int = 16


class S3Blobs:
    """`BlobStore` in a bucket."""

    def __init__(self, options: S3Options) -> None:
        """Prepare the client; nothing is sent.

        Raises:
            InvalidInputError: boto3 is not installed.
        """
        self._options = options
        self._prefix = f"{options.prefix.strip('/')}/".removeprefix("/")
        self._client = _client(options)

    @property
    def place(self) -> str:
        """See `BlobStore.place`."""
        return f"s3://{self._options.bucket}/{self._prefix}".rstrip("/")

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """See `BlobStore.put_if_absent`."""
        key, digest = self._key(name), hashlib.sha256(data).hexdigest()

        def put() -> bool:
            self._client.put_object(
                **self._at(key), Body=data, IfNoneMatch="*", Metadata={_DIGEST: digest}, ContentLength=len(data)
            )
            return True

        with failures(f"write {name}", self.place, self._options.read_seconds):
            return self._unless(TAKEN, False, lambda: self._settled(put))

    def get(self, name: str, *, limit: int = MAX_BLOB_BYTES) -> bytes:
        """See `BlobStore.get`."""
        key = self._key(name)
        with failures(f"read {name}", self.place, self._options.read_seconds):
            data = self._unless(ABSENT, None, lambda: self._body(key, limit))
        if data is None:
            raise missing(name, self.place)
        if len(data) > limit:
            raise oversize(name, self.place, limit)
        return data

    def stat(self, name: str) -> Stored | None:
        """See `BlobStore.stat`. The digest is the one noted when the blob was written."""
        head = self._head(name)
        return None if head is None else Stored(head["ContentLength"], head.get("Metadata", {}).get(_DIGEST))

    def size(self, name: str) -> int | None:
        """See `BlobStore.size`."""
        head = self._head(name)
        return None if head is None else int(head["ContentLength"])

    def touch(self, name: str) -> bool:
        """See `BlobStore.touch`: a copy onto itself, in the store."""
        head = self._head(name)
        if head is None:
            return False
        if datetime.now(UTC) - head["LastModified"] < _TOUCH_AFTER:
            return True
        at = self._at(self._key(name))

        def copy() -> bool:
            self._client.copy_object(
                **at,
                CopySource=at,
                MetadataDirective="REPLACE",
                Metadata=head["Metadata"],
                CopySourceIfMatch=head["ETag"],
            )
            return True

        with failures(f"touch {name}", self.place, self._options.read_seconds):
            return self._unless(ABSENT | TAKEN, False, copy)

    def delete(self, name: str, *, not_since: datetime | None = None) -> bool:
        """See `BlobStore.delete`."""
        head = self._head(name)
        if head is None or (not_since is not None and head["LastModified"] > not_since):
            return False
        with failures(f"remove {name}", self.place, self._options.read_seconds):
            self._client.delete_object(**self._at(self._key(name)))
        return True

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """See `BlobStore.list`."""
        pages = self._client.get_paginator("list_objects_v2")
        with failures("list the bucket", self.place, self._options.read_seconds):
            for page in pages.paginate(Bucket=self._options.bucket, Prefix=self._prefix + prefix):
                for item in page.get("Contents", ()):
                    yield Listed(item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"])

    def read(self, name: str) -> Pointer | None:
        """See `BlobStore.read`."""
        at = self._at(self._key(name))

        def get() -> Pointer:
            answer = self._client.get_object(**at)
            return Pointer(_read(answer, MAX_BLOB_BYTES), answer["ETag"])

        with failures(f"read {name}", self.place, self._options.read_seconds):
            return self._unless(ABSENT, None, get)

    def swap(self, name: str, expected: str | None, data: bytes) -> str:
        """See `BlobStore.swap`."""
        at = self._at(self._key(name))
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}

        def put() -> str:
            return str(self._client.put_object(**at, Body=data, **condition)["ETag"])

        with failures(f"write {name}", self.place, self._options.read_seconds):
            tag = self._unless(TAKEN | ABSENT, None, lambda: self._settled(put))
        if tag is not None:
            return tag
        # Our own write may have come through while its answer was lost; then the pointer says what we said.
        present = self.read(name)
        if present is not None and present.data == data:
            return present.etag
        raise changed(name)

    def _body(self, key: str, limit: int) -> bytes:
        """The bytes of an object, asked for again where the connection breaks half way: boto3 does not do that."""
        for wait in range(self._options.tries - 1):
            answer = self._client.get_object(**self._at(key))
            try:
                return _read(answer, limit)
            except broken_streams():
                time.sleep(_FIRST_WAIT_SECONDS * 2**wait)
        return _read(self._client.get_object(**self._at(key)), limit)

    def _head(self, name: str) -> dict[str, Any] | None:
        at = self._at(self._key(name))
        with failures(f"look at {name}", self.place, self._options.read_seconds):
            return self._unless(ABSENT, None, lambda: dict(self._client.head_object(**at)))

    def _settled(self, call: Callable[[], T]) -> T:
        """The call's answer, asked again while another conditional write to the same name is under way (409)."""
        for wait in range(self._options.tries - 1):
            try:
                return call()
            except self._client.exceptions.ClientError as error:
                if status_of(error) != CONFLICT:
                    raise
                time.sleep(_FIRST_WAIT_SECONDS * 2**wait)
        return call()

    def _unless(self, statuses: frozenset[int], otherwise: S, call: Callable[[], T]) -> S | T:
        try:
            return call()
        except self._client.exceptions.ClientError as error:
            if status_of(error) in statuses and not is_no_bucket(error):
                return otherwise
            raise

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._options.bucket, "Key": key}


def _read(answer: dict[str, Any], limit: int) -> bytes:
    # Not as its own context: that yields the stream beneath, whose failures are not botocore's.
    with closing(answer["Body"]) as body:
        # Read to its end where possible: only then is the length compared with the one announced.
        return bytes(body.read(limit + 1)) if answer["ContentLength"] > limit else bytes(body.read())


def _client(options: S3Options) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise InvalidInputError(
            "artifacts in S3 need boto3; run pip install 'acgs[s3]'", field="ACGS_ARTIFACTS"
        ) from error
    config = Config(
        connect_timeout=options.connect_seconds,
        read_timeout=options.read_seconds,
        retries={"mode": "standard", "total_max_attempts": options.tries},
        max_pool_connections=options.connections,
        # The defaults send checksums that stores other than Amazon's do not know.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client("s3", endpoint_url=options.endpoint, config=config)

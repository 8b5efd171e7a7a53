"""What S3's failures mean to the caller. Neither an address with a password nor a header reaches a message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from acgs.registry.artifacts.blobs import BlobStoreError

ABSENT: Final = frozenset({404})
TAKEN: Final = frozenset({412})
CONFLICT: Final = 409
_NO_BUCKET: Final = "NoSuchBucket"
_REFUSED: Final = frozenset({401, 403})
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


@contextmanager
def failures(what: str, place: str, seconds: float) -> Iterator[None]:
    """Turn what boto3 raises into a `BlobStoreError` that says what to do; `seconds` is how long it waits."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ReadTimeoutError,
    )

    try:
        yield
    except ClientError as error:
        raise _answered(what, place, error) from None
    except (NoCredentialsError, PartialCredentialsError):
        reason = "no credentials were found; set them in the environment or give the machine a role"
        raise BlobStoreError(f"cannot {what} in {place}: {reason}", field="place") from None
    except (ConnectTimeoutError, ReadTimeoutError):
        reason = f"no answer within {seconds:g} s, tried several times; check the network and the store"
        raise BlobStoreError(f"cannot {what} in {place}: {reason}", field="place") from None
    except (HTTPClientError, BotoCoreError) as error:
        reason = f"the connection failed ({type(error).__name__}); check ACGS_S3_ENDPOINT and the network"
        raise BlobStoreError(f"cannot {what} in {place}: {reason}", field="place") from None


def status_of(error: Any) -> int:
    """The HTTP status that a client error carries."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_no_bucket(error: Any) -> bool:
    """Whether it is the bucket that is absent, and not a blob in it."""
    return str(error.response.get("Error", {}).get("Code", "")) == _NO_BUCKET


def broken_streams() -> tuple[type[Exception], ...]:
    """What is raised where a connection breaks while an answer is read."""
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    return IncompleteReadError, ReadTimeoutError, ResponseStreamingError


def _answered(what: str, place: str, error: Any) -> BlobStoreError:
    status, code = status_of(error), str(error.response.get("Error", {}).get("Code", ""))[:64]
    if code == _NO_BUCKET:
        reason = "there is no such bucket; make it or correct ACGS_ARTIFACTS"
    elif status in _REFUSED:
        reason = f"the store refuses ({status}); check the credentials and the rights to this bucket and prefix"
    elif status in _BUSY:
        reason = f"the store is overloaded or failing ({status}), tried several times; try again later"
    else:
        reason = f"the store answered {status} {code}"
    return BlobStoreError(f"cannot {what} in {place}: {reason}", field="place")

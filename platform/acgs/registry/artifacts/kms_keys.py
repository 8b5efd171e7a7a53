"""Keys of artifacts wrapped by AWS KMS, or a service that speaks its protocol: the wrapping key never leaves it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.registry.artifacts.manifest import WrappedKey

_CONTEXT: Final = {"purpose": "acgs-artifact"}
"""Bound to each wrapped key, and written to the service's own log: a key wrapped for another purpose does not open."""
_CHANGED: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class KmsKeys:
    """`KeyProvider` over one symmetric key of the service."""

    def __init__(
        self, key_id: str, *, endpoint: str | None = None, connect_seconds: float = 5.0, read_seconds: float = 15.0
    ) -> None:
        """Prepare the client; nothing is sent. `key_id` is the key's identifier, ARN or `alias/...`.

        Raises:
            InvalidInputError: boto3 is not installed.
        """
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise InvalidInputError(
                "a key service needs boto3; run pip install 'acgs[s3]'", field="ACGS_ARTIFACT_KEY"
            ) from error
        self._key_id = key_id
        config = Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": 4},
        )
        self._client = boto3.session.Session().client("kms", endpoint_url=endpoint, config=config)

    @property
    def key_id(self) -> str:
        """See `KeyProvider.key_id`. The key's ARN, asked for each time: an alias may have moved to another key."""
        answer = self._ask("describe_key", KeyId=self._key_id)
        return str(answer["KeyMetadata"]["Arn"])

    def wrap(self, key: bytes) -> WrappedKey:
        """See `KeyProvider.wrap`."""
        answer = self._ask("encrypt", KeyId=self._key_id, Plaintext=key, EncryptionContext=_CONTEXT)
        return WrappedKey(key_id=answer["KeyId"], data=answer["CiphertextBlob"].hex())

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """See `KeyProvider.unwrap`."""
        data = bytes.fromhex(wrapped.data)
        answer = self._ask("decrypt", KeyId=wrapped.key_id, CiphertextBlob=data, EncryptionContext=_CONTEXT)
        return bytes(answer["Plaintext"])

    def kept(self) -> AbstractContextManager[None]:
        """See `KeyProvider.kept`. The service gives up no key at once: what is scheduled for it can be cancelled."""
        return nullcontext()

    def _ask(self, verb: str, **values: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, verb)(**values)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))[:64]
            if code in _CHANGED:
                raise IntegrityError("a wrapped key was changed, or belongs to another key", field="key") from None
            raise UnavailableError(
                f"the key service refuses to {verb} with the key {values['KeyId'][:64]!r} ({code}); check that it "
                "exists, is enabled, and that the credentials may use it",
                field="key",
            ) from None
        except BotoCoreError as error:
            raise UnavailableError(
                f"the key service does not answer ({type(error).__name__}); check the network and the credentials",
                field="key",
            ) from None
        return answer

"""What is signed of a version: its files, in the form of the public `model-signing` tool, and its facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from pydantic import JsonValue

from acgs.audit.installation import audit_directory, signing_key, signing_key_path
from acgs.audit.key_ring import KeyRing, read_ring
from acgs.errors import IntegrityError
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.artifacts.model_signature import sign_manifest, verify_manifest
from acgs.registry.artifacts.release_facts import sign_release_facts, verify_release_facts
from acgs.registry.artifacts.signing_keys import ReleaseKeys, VerificationKeys
from acgs.registry.model_version import VersionFacts
from acgs.settings import Settings

_FILES: Final = "files"
_FACTS: Final = "facts"


class VersionSigner:
    """Signs versions, and checks that both statements about one hold and are about it."""

    def __init__(self, keys: ReleaseKeys, ring: KeyRing) -> None:
        """`ring` has the key of `keys` in force, and those that count for what they signed before."""
        self._keys = keys
        self._ring = ring

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """With the installation's signing key, and an ECDSA key beside it; both are made on first use."""
        signing_key(settings)
        audit = audit_directory(settings)
        keys = ReleaseKeys.load_or_create(signing_key_path(settings, audit))
        return cls(keys, read_ring(audit, keys.ed25519.public))

    @property
    def public(self) -> VerificationKeys:
        """What verifiers hold."""
        return self._keys.public

    def sign(self, manifest: Manifest, facts: VersionFacts) -> JsonValue:
        """Both statements, as JSON."""
        files = sign_manifest(manifest, self._keys, name=facts.reference)
        said = sign_release_facts(
            facts.model_dump(mode="json"), self._keys.ed25519, subject=facts.reference, digest=manifest.digest
        )
        return {_FILES: json.loads(files), _FACTS: json.loads(said)}

    def verify(
        self, signatures: JsonValue, manifest: Manifest, facts: VersionFacts, *, place: Callable[[], int | None]
    ) -> None:
        """Check that files and facts are what was signed.

        Args:
            place: where in the audit log the version was made; asked for only where a retired key has signed.

        Raises:
            IntegrityError: they are not, or a signature is missing, by another key, or by a retired one without the
                log holding the version from before.
        """
        try:
            self._verify(signatures, manifest, facts, self.public)
        except IntegrityError:
            earlier = self._ring.accepted(place())[1:] if self._ring.retired else ()
            for key in earlier:
                with suppress(IntegrityError):
                    return self._verify(signatures, manifest, facts, VerificationKeys(key, self.public.ecdsa))
            raise

    def _verify(self, signatures: JsonValue, manifest: Manifest, facts: VersionFacts, keys: VerificationKeys) -> None:
        verify_manifest(files_bundle(signatures), manifest, keys)
        envelope = _part(signatures, _FACTS)
        said = verify_release_facts(envelope, keys.ed25519, subject=facts.reference, digest=manifest.digest)
        if said != facts.model_dump(mode="json"):
            raise IntegrityError(f"what is kept of {facts.reference} is not what was signed", field="facts")


def files_bundle(signatures: JsonValue) -> bytes:
    """The bundle over the files: what belongs into `model.sig` beside them."""
    return _part(signatures, _FILES)


def _part(signatures: JsonValue, name: str) -> bytes:
    if not isinstance(signatures, dict) or name not in signatures:
        raise IntegrityError("a signature is missing", field="signature")
    return json.dumps(signatures[name]).encode()

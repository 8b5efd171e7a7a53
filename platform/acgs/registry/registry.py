"""The registry: make a version, find it, bring its files, and say whether all of it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError
from semver import Version

from acgs.audit.entries import Event
from acgs.audit.receipts import utc_instant
from acgs.constitution.lock import LockedConstitution
from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.files import write_atomic
from acgs.registry.artifacts.folder import folder_differences
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.artifacts.paths import SIGNATURE_FILE
from acgs.registry.artifacts.signing_keys import VerificationKeys
from acgs.registry.artifacts.store import ArtifactStore
from acgs.registry.artifacts.transfer import ProgressCallback
from acgs.registry.catalogue import Catalogue, Record, Summary, UnknownVersionError, split_reference
from acgs.registry.lifecycle import AuditTrail, EventLog, LifecycleEvent, carry_over
from acgs.registry.lineage import Lineage, trace
from acgs.registry.model_version import Description, VersionFacts
from acgs.registry.semver import RESERVED_NAMES, ModelName, VersionPolicy, parse, successor
from acgs.registry.signer import VersionSigner, files_bundle

CREATED: Final = "model.version.created"
HELD: Final = "model.version.held"
HOLD_LIFTED: Final = "model.version.hold_lifted"
_NAME: Final = TypeAdapter(ModelName)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which number a new version gets: the one named, or the one after the highest."""

    version: str | None = None
    policy: VersionPolicy = VersionPolicy.MINOR
    prerelease: str | None = None

    def choose(self, highest: Version | None) -> Version:
        """The number, given the highest there is."""
        if self.version is not None:
            return parse(self.version)
        return successor(highest, self.policy, prerelease=self.prerelease)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of one version found; nothing wrong means that it holds."""

    reference: str
    removed: bool
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether all that should be there is there and is what was signed."""
        return not self.faults


class Registry:
    """Versions of models with their files, signatures and history."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        events: EventLog,
        artifacts: ArtifactStore,
        signer: VersionSigner,
        trail: AuditTrail,
        cache: Path,
    ) -> None:
        """`cache` is a folder for files that were fetched without a place of their own."""
        self.catalogue = catalogue
        self.events = events
        self.artifacts = artifacts
        self._signer = signer
        self._trail = trail
        self._cache = cache

    def create(
        self,
        name: str,
        source: Path,
        description: Description,
        *,
        actor: str,
        constitution: LockedConstitution,
        wanted: Wanted | None = None,
        progress: ProgressCallback | None = None,
    ) -> Record:
        """Store a folder or file, sign it, and name it for ever.

        Files that the store has already are not sent again, so that a call that was interrupted goes on where it
        stopped.

        Raises:
            InvalidInputError: name, number or a file cannot be used; parent or base do not exist.
            VersionTakenError: the number is taken.
            AcgsError: the store, the database or the audit log cannot be used; unless it was the audit log, there is
                no new version. What the audit log missed is carried over by the next command, or by `doctor`.
        """
        wanted = wanted or Wanted()
        check_name(name)
        if wanted.version is not None:
            parse(wanted.version)
        self._require_relatives(name, description)
        stored = self.artifacts.put(source, progress=progress)

        def make(version: Version) -> tuple[Record, LifecycleEvent]:
            facts = VersionFacts(
                **dict(description),
                name=name,
                version=str(version),
                artifact_digest=manifest.digest,
                artifact_bytes=manifest.size,
                constitution_digest=constitution.digest,
                constitutional_hash=constitution.label,
                created_at=utc_instant(),
                created_by=actor,
            )
            record = Record(facts, manifest.model_dump(mode="json"), self._signer.sign(manifest, facts))
            details = {"facts_digest": facts.digest(), "artifact_digest": manifest.digest}
            return record, LifecycleEvent(CREATED, actor, name, str(version), dict(details))

        # Should the wrapping key have been rotated during a long put, the earlier one may be given up any time.
        with self.artifacts.keys_kept():
            manifest = self.artifacts.rewrap(stored)
            record = self.catalogue.register(name, wanted.choose, make)
        self.carry_over()
        return record

    def get(self, reference: str) -> Record:
        """A version by `name@1.2.3`, or the highest release by `name`."""
        return self.catalogue.get(*split_reference(reference))

    def find(self, name: str | None = None, *, limit: int | None = None) -> list[Summary]:
        """Versions, highest first within a model."""
        return self.catalogue.find(name, limit=limit)

    def fetch(self, reference: str, target: Path | None = None, *, progress: ProgressCallback | None = None) -> Path:
        """The files of a version, verified against its signature and byte by byte.

        Args:
            target: a folder that does not exist yet; default: the cache, where they are looked at again each time.

        Raises:
            IntegrityError: signature or files do not hold, or the files were removed.
        """
        record = self.get(reference)
        manifest = self._trusted_manifest(record)
        if target is not None:
            self.artifacts.fetch(manifest, target, progress=progress)
            # For those who check it with the public tool.
            write_atomic(target / SIGNATURE_FILE, files_bundle(record.signatures))
            return target
        place = self._cache / manifest.digest
        expected = {entry.path: entry.sha256 for entry in manifest.files}
        if place.exists() and folder_differences(place, expected):
            raise IntegrityError(f"the cached files of {record.facts.reference} were changed; delete {place}")
        if not place.exists():
            self.artifacts.fetch(manifest, place, progress=progress)
        return place

    def verify(self, reference: str) -> Verification:
        """Read everything of a version again: its signatures, and every stored byte."""
        record = self.get(reference)
        removed, facts = record.removed_at is not None, record.facts
        try:
            manifest = manifest_of(record)
            self._signer.verify(record.signatures, manifest, facts, place=lambda: self._place(facts))
        except IntegrityError as error:
            return Verification(facts.reference, removed, (error.message,))
        try:
            stored = () if removed else self.artifacts.verify(manifest)
        except UnavailableError as error:
            if error.field != "key":
                raise
            return Verification(facts.reference, removed, (error.message,))
        return Verification(facts.reference, removed, tuple(str(finding) for finding in stored))

    def lineage(self, reference: str) -> Lineage:
        """Where a version comes from, and what was made of it."""
        start = self.get(reference).facts.reference
        return trace(start, self.find(), lambda member: self.get(member).facts)

    def hold(self, reference: str, reason: str, *, actor: str) -> None:
        """Put a version under legal hold: its files stay.

        Raises:
            InvalidInputError: no reason is given.
        """
        facts = self.get(reference).facts
        if not reason.strip():
            raise InvalidInputError("say why the version is held", field="reason")
        event = LifecycleEvent(HELD, actor, facts.name, facts.version, {"reason": reason})
        self.catalogue.hold(facts.name, facts.version, reason, event)
        self.carry_over()

    def lift_hold(self, reference: str, *, actor: str) -> None:
        """Lift the hold on a version."""
        facts = self.get(reference).facts
        self.catalogue.release_hold(
            facts.name, facts.version, LifecycleEvent(HOLD_LIFTED, actor, facts.name, facts.version)
        )
        self.carry_over()

    @property
    def public_keys(self) -> VerificationKeys:
        """What verifiers of its versions hold."""
        return self._signer.public

    def carry_over(self) -> int:
        """Take into the audit log what it lacks; returns how many events."""
        return carry_over(self.events, self._trail)

    def place(self, event: LifecycleEvent) -> int | None:
        """The event's index in the audit log; None while it is not there.

        Raises:
            IntegrityError: the log tells something else of it.
        """
        return self._trail.place(event.entry())

    def last_told(self, subject: str, kind: str) -> Event | None:
        """The last event of a subject and kind that the audit log holds.

        Raises:
            IntegrityError: the log was altered there.
        """
        return self._trail.last(subject, kind)

    def manifests(self) -> dict[str, Manifest]:
        """The manifests of all versions whose files are kept, by `name@version`.

        Raises:
            IntegrityError: one cannot be read; nothing may be collected then.
        """
        return {record.facts.reference: manifest_of(record) for record in self.catalogue.records()}

    def cached(self) -> list[Path]:
        """Folders of fetched files, each named by the digest of what it should hold; not those in the making."""
        places = self._cache.iterdir() if self._cache.is_dir() else ()
        return sorted(place for place in places if not place.name.startswith("."))

    def _trusted_manifest(self, record: Record) -> Manifest:
        if record.removed_at is not None:
            raise IntegrityError(
                f"the files of {record.facts.reference} were removed on {record.removed_at[:10]}; what is known of it "
                "remains",
                field="version",
            )
        manifest = manifest_of(record)
        self._signer.verify(record.signatures, manifest, record.facts, place=lambda: self._place(record.facts))
        return manifest

    def _place(self, facts: VersionFacts) -> int | None:
        """Where in the audit log the version was made."""
        made = (
            event
            for event in self.events.events(name=facts.name, kinds=[CREATED])
            if event.version == facts.version and event.details.get("facts_digest") == facts.digest()
        )
        event = next(made, None)
        return None if event is None else self.place(event)

    def _require_relatives(self, name: str, description: Description) -> None:
        relatives = [("parent", f"{name}@{description.parent}") if description.parent else None]
        relatives.append(("base", description.base) if description.base else None)
        for found in relatives:
            if found is None:
                continue
            try:
                self.get(found[1])
            except UnknownVersionError as error:
                raise InvalidInputError(f"its {found[0]} {found[1]} does not exist", field=found[0]) from error


def check_name(name: str) -> str:
    """The name, if a model may have it.

    Raises:
        InvalidInputError: it may not.
    """
    if name in RESERVED_NAMES:
        raise InvalidInputError(f"no model can be called {name!r}: a route of the services has that name", field="name")
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise InvalidInputError(
            "a model's name has 1 to 128 lower-case letters, digits, '.', '_', '-', and begins with a letter or digit",
            field="name",
        ) from None


def manifest_of(record: Record) -> Manifest:
    """The manifest of a version.

    Raises:
        IntegrityError: it cannot be read, or is not the one that was signed.
    """
    try:
        manifest = Manifest.model_validate(record.manifest)
    except ValidationError:
        raise IntegrityError(f"the manifest of {record.facts.reference} cannot be read; it was changed") from None
    if manifest.digest != record.facts.artifact_digest:
        raise IntegrityError(f"the manifest of {record.facts.reference} is not the one that was signed")
    return manifest

"""Looking a registry over: what a crash, a disk or a hand may have left, and mending what can be mended."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from acgs.errors import IntegrityError, InvalidInputError, UnavailableError
from acgs.registry.artifacts.folder import folder_differences
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.collection import GRACE
from acgs.registry.git import Repository, tag_name
from acgs.registry.registry import Registry, manifest_of


@dataclass(frozen=True, slots=True)
class Ailment:
    """Something that is not as it should be. `mend` is None where only a person can help."""

    what: str
    advice: str
    mend: Callable[[], object] | None = None

    @property
    def mendable(self) -> bool:
        """Whether `mend` helps."""
        return self.mend is not None


def examine(registry: Registry, *, repository: Repository | None = None, now: datetime | None = None) -> list[Ailment]:
    """Everything that is wrong, without reading the stored bytes (`verify` does that).

    Args:
        repository: where the tags of versions are looked for; None: they are not.

    Raises:
        UnavailableError: the database or the store cannot be read at all.
    """
    now = now or datetime.now(UTC)
    found = [*_late_events(registry), *_broken_versions(registry)]
    with suppress(IntegrityError):  # told above; while nobody knows what is needed, nothing is left over
        kept = registry.manifests()
        found += [*_lost_keys(registry, kept), *_left_over(registry, kept, now), *_bad_cache(registry, kept)]
    if repository is not None:
        found += _missing_tags(registry, repository)
    return found


def _late_events(registry: Registry) -> Iterator[Ailment]:
    waiting = len(registry.events.unaudited(1000))
    if waiting:
        yield Ailment(f"{waiting} lifecycle events are not in the audit log", "carry them over", registry.carry_over)


def _broken_versions(registry: Registry) -> Iterator[Ailment]:
    for record in registry.catalogue.records():
        try:
            missing = registry.artifacts.missing(manifest_of(record))
        except IntegrityError as error:
            yield Ailment(error.message, "restore the database from a backup")
            continue
        if missing:
            yield Ailment(
                f"{record.facts.reference} lacks {len(missing)} stored pieces", "restore the artifact store from a copy"
            )


def _lost_keys(registry: Registry, kept: Mapping[str, Manifest]) -> Iterator[Ailment]:
    """Wrapping keys that cannot be had, each tried on one version: a key service counts every call."""
    under = Counter(manifest.key.key_id for manifest in kept.values())
    samples = {manifest.key.key_id: manifest for manifest in kept.values()}
    for key_id, manifest in samples.items():
        try:
            registry.artifacts.require_key(manifest)
        except (UnavailableError, IntegrityError) as error:
            what = f"{under[key_id]} versions need the wrapping key {key_id}: {error.message}"
            yield Ailment(what, "restore the key from a copy")
    try:
        registry.artifacts.require_secret()
    except (UnavailableError, IntegrityError) as error:
        yield Ailment(
            f"the registry's own secret cannot be had, so that nothing can be registered: {error.message}",
            "restore the key from a copy; without one, name another store for new versions (ACGS_ARTIFACTS)",
        )
        return
    if kept and registry.artifacts.secret_key_id() is None:
        yield Ailment(
            "the registry's own secret is gone; the next version gets a new one, and shares no chunk with earlier ones",
            "restore it from a copy of the store before anything is registered",
        )


def _left_over(registry: Registry, kept: Mapping[str, Manifest], now: datetime) -> Iterator[Ailment]:
    found = list(registry.artifacts.unreferenced(kept.values(), older_than=GRACE, now=now))
    if found:
        size = sum(item.size for item in found)
        yield Ailment(
            f"{len(found)} stored pieces ({size:,} bytes) belong to no version",
            "remove them",
            lambda: registry.artifacts.remove(found),
        )


def _bad_cache(registry: Registry, kept: Mapping[str, Manifest]) -> Iterator[Ailment]:
    known = {manifest.digest: manifest for manifest in kept.values()}
    for place in registry.cached():
        manifest = known.get(place.name)
        if manifest is None:
            yield Ailment(
                f"the cache holds {place.name}, which no version has", "delete it", partial(shutil.rmtree, place)
            )
        elif _differs(place, manifest):
            yield Ailment(f"the cached files {place.name} were changed", "delete them", partial(shutil.rmtree, place))


def _differs(place: Path, manifest: Manifest) -> bool:
    try:
        return bool(folder_differences(place, {entry.path: entry.sha256 for entry in manifest.files}))
    except InvalidInputError:
        return True


def _missing_tags(registry: Registry, repository: Repository) -> Iterator[Ailment]:
    for name in registry.catalogue.names():
        there = repository.tags(name)
        for line in registry.find(name):
            facts = registry.get(line.reference).facts
            if facts.code.commit is not None and not facts.code.dirty and tag_name(facts) not in there:
                yield Ailment(
                    f"{facts.reference} has no tag {tag_name(facts)}",
                    "write it",
                    partial(repository.tag, facts),
                )

"""Wrapping the keys of artifacts anew after a rotation, so that the earlier key can be given up.

A version's manifest never changes. The key wrapped anew is kept beside it and stands for the one in it; the earlier
wrapping key is needed until nothing is left under it, and for copies of the database from before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from acgs.errors import AcgsError
from acgs.registry.artifacts.keys import KeyFile
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.registry import Registry, manifest_of

REWRAPPED: Final = "model.key.rewrapped"


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What was wrapped anew, or would be. `under` counts what is under each wrapping key, as it was before."""

    key_id: str
    under: Mapping[str, int]
    artifacts: int
    secret: bool
    faults: tuple[str, ...]
    dry_run: bool


def keys_in_use(registry: Registry) -> Counter[str]:
    """How many artifacts, with the registry's own secret, are under each wrapping key.

    Raises:
        IntegrityError: a manifest cannot be read, so that nobody knows which key it needs.
    """
    found = Counter(manifest.key.key_id for manifest in registry.manifests().values())
    secret = registry.artifacts.secret_key_id()
    if secret is not None:
        found[secret] += 1
    return found


def rewrap(registry: Registry, *, actor: str, dry_run: bool = True) -> Rewrapped:
    """Wrap the key of every artifact whose files are kept with the present key of the provider. No stored byte is read.

    Each is one transaction, so that whatever ends it in the middle leaves every artifact readable, and the next run
    goes on there. One that cannot be wrapped anew is named, and the others go on.

    Raises:
        IntegrityError: a manifest cannot be read; nothing is wrapped anew.
        UnavailableError: the database, the store or the key provider cannot be used.
    """
    under, present = keys_in_use(registry), registry.artifacts.key_id
    artifacts, faults = 0, []
    for record in registry.catalogue.records():
        manifest, facts = manifest_of(record), record.facts
        if manifest.key.key_id == present:
            continue
        with registry.artifacts.keys_kept():
            try:
                renewed = registry.artifacts.rewrap(manifest).key
            except AcgsError as error:
                faults.append(f"{facts.reference}: {error.message}")
                continue
            if not dry_run:
                event = LifecycleEvent(REWRAPPED, actor, facts.name, facts.version, {"key_id": renewed.key_id})
                registry.catalogue.renew_key(facts.name, facts.version, renewed.model_dump(mode="json"), event)
        artifacts += 1
    secret = registry.artifacts.secret_key_id() not in (None, present)
    if not dry_run:
        secret = registry.artifacts.rewrap_secret()
        registry.carry_over()
    return Rewrapped(present, dict(under), artifacts, secret, tuple(faults), dry_run)


def retire_key(registry: Registry, keys: KeyFile, key_id: str) -> None:
    """Take an earlier wrapping key out of its file, once nothing is under it.

    Raises:
        InvalidInputError: it is the present one, is not in the file, or something is still under it.
    """
    keys.drop(key_id, under_it=lambda: keys_in_use(registry)[key_id])

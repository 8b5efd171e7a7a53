"""Opens the registry of an installation from its settings."""

from __future__ import annotations

from typing import Final

from acgs.audit.installation import audit_directory
from acgs.registry.artifacts.opening import open_store
from acgs.registry.audit_trail import JournalTrail
from acgs.registry.registry import Registry
from acgs.registry.signer import VersionSigner
from acgs.registry.sql_catalogue import SqlCatalogue
from acgs.registry.sql_lifecycle import SqlEventLog
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from acgs.storage.migrate import upgrade

CACHE_FOLDER: Final = "model-cache"


def open_registry(settings: Settings) -> Registry:
    """The registry that the settings name; tables and keys are made on first use.

    Raises:
        AcgsError: the database, the artifact store or a key cannot be used.
    """
    engine = open_engine(configured_url(settings))
    upgrade(engine)
    return Registry(
        catalogue=SqlCatalogue(engine),
        events=SqlEventLog(engine),
        artifacts=open_store(settings),
        signer=VersionSigner.open(settings),
        trail=JournalTrail(audit_directory(settings)),
        cache=settings.state_dir.resolve() / CACHE_FOLDER,
    )

"""A catalogue, its events on each database, and versions to put into it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from semver import Version
from sqlalchemy import Engine

from acgs.audit.receipts import utc_instant
from acgs.registry.catalogue import Make, Record
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.model_version import VersionFacts
from acgs.registry.semver import VersionPolicy, parse, successor
from acgs.registry.sql_catalogue import SqlCatalogue
from acgs.registry.sql_lifecycle import SqlEventLog

Register = Callable[..., Record]


@pytest.fixture
def catalogue(engine: Engine) -> SqlCatalogue:
    return SqlCatalogue(engine)


@pytest.fixture
def event_log(engine: Engine) -> SqlEventLog:
    return SqlEventLog(engine)


def made(name: str, **more: object) -> Make:
    """How a version of `name` is made once its number is known."""

    def make(version: Version) -> tuple[Record, LifecycleEvent]:
        facts = VersionFacts(
            name=name,
            version=str(version),
            kind="sklearn",
            artifact_digest="a" * 64,
            artifact_bytes=7,
            constitution_digest="c" * 64,
            constitutional_hash="cdd01ef066bc6cf2",
            created_at=utc_instant(),
            created_by="mia",
            **more,  # type: ignore[arg-type]
        )
        event = LifecycleEvent("model.version.created", "mia", name, str(version), {"facts": facts.digest()})
        return Record(facts, {"files": []}, {"signed": True}), event

    return make


@pytest.fixture
def register(catalogue: SqlCatalogue) -> Register:
    """Put a version into the catalogue: by its number, or as the successor of the highest."""

    def put(name: str, number: str | None = None, *, policy: str = "minor", **more: object) -> Record:
        def choose(current: Version | None) -> Version:
            return parse(number) if number is not None else successor(current, VersionPolicy(policy))

        return catalogue.register(name, choose, made(name, **more))

    return put

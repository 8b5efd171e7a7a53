"""The index of versions in the platform's database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import JsonValue
from sqlalchemy import Connection, Engine, Row, Select, and_, delete, insert, select, update

from acgs.audit.receipts import utc_instant
from acgs.registry.catalogue import (
    LATEST,
    Choose,
    Make,
    Record,
    Summary,
    UnknownVersionError,
    VersionTakenError,
)
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.model_version import VersionFacts
from acgs.registry.semver import parse, precedence
from acgs.registry.sql_lifecycle import SUBJECT, append_event
from acgs.registry.tables import HOLD_TABLE, RENEWED_KEY_TABLE, VERSION_TABLE
from acgs.storage.transactions import reading, writing

_VERSION = VERSION_TABLE.c
_HOLD = HOLD_TABLE.c
_RENEWED = RENEWED_KEY_TABLE.c
_LINE: Final = (
    *(_VERSION.name, _VERSION.version, _VERSION.kind, _VERSION.artifact_digest, _VERSION.artifact_bytes),
    *(_VERSION.constitution_digest, _VERSION.parent, _VERSION.base, _VERSION.created_at, _VERSION.created_by),
    _VERSION.removed_at,
)


class SqlCatalogue:
    """`Catalogue` over an engine that `acgs.storage.migrate.upgrade` has prepared. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register(self, name: str, choose: Choose, make: Make) -> Record:
        """See `Catalogue.register`."""
        with writing(self._engine, SUBJECT) as connection:
            highest = connection.execute(_highest(name)).one_or_none()
            version = choose(parse(highest.version) if highest is not None else None)
            key = precedence(version)
            taken = select(_VERSION.version).where(_VERSION.name == name, _VERSION.precedence == key)
            if (other := connection.execute(taken).scalar()) is not None:
                raise VersionTakenError(
                    f"{name}@{other} exists, and versions never change; choose another number", field="version"
                )
            record, event = make(version)
            connection.execute(insert(VERSION_TABLE).values(_columns(record, key)))
            append_event(connection, event)
        return record

    def get(self, name: str, spec: str) -> Record:
        """See `Catalogue.get`."""
        if spec == LATEST:
            # A release ends in '~', a pre-release never does.
            query = _highest(name, VERSION_TABLE).where(_VERSION.precedence.like("%~"), _VERSION.removed_at.is_(None))
        else:
            parse(spec)
            query = select(VERSION_TABLE).where(_VERSION.name == name, _VERSION.version == spec)
        with reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise _unknown(connection, name, spec)
            renewed = connection.execute(
                select(_RENEWED.wrapped).where(_RENEWED.name == name, _RENEWED.version == row.version)
            ).scalar()
        return _record(row, renewed)

    def find(self, name: str | None = None, *, limit: int | None = None) -> list[Summary]:
        """See `Catalogue.find`."""
        held = and_(_HOLD.name == _VERSION.name, _HOLD.version == _VERSION.version)
        query = (
            select(*_LINE, _HOLD.reason.is_not(None).label("held"))
            .select_from(VERSION_TABLE.outerjoin(HOLD_TABLE, held))
            .order_by(_VERSION.name, _VERSION.precedence.desc())
            .limit(limit)
        )
        if name is not None:
            query = query.where(_VERSION.name == name)
        with reading(self._engine) as connection:
            return [Summary._make(row) for row in connection.execute(query)]

    def names(self) -> list[str]:
        """See `Catalogue.names`."""
        with reading(self._engine) as connection:
            return list(connection.execute(select(_VERSION.name).distinct().order_by(_VERSION.name)).scalars())

    def records(self) -> list[Record]:
        """See `Catalogue.records`."""
        query = select(VERSION_TABLE).where(_VERSION.removed_at.is_(None)).order_by(_VERSION.name, _VERSION.precedence)
        with reading(self._engine) as connection:
            renewed = {(row.name, row.version): row.wrapped for row in connection.execute(select(RENEWED_KEY_TABLE))}
            return [_record(row, renewed.get((row.name, row.version))) for row in connection.execute(query)]

    def hold(self, name: str, version: str, reason: str, event: LifecycleEvent) -> None:
        """See `Catalogue.hold`."""
        with writing(self._engine, SUBJECT) as connection:
            _require(connection, name, version)
            _lift(connection, name, version)
            values = {"name": name, "version": version, "reason": reason, "held_at": utc_instant()}
            connection.execute(insert(HOLD_TABLE).values(values))
            append_event(connection, event)

    def release_hold(self, name: str, version: str, event: LifecycleEvent) -> None:
        """See `Catalogue.release_hold`."""
        with writing(self._engine, SUBJECT) as connection:
            if not _lift(connection, name, version):
                raise UnknownVersionError(f"{name}@{version} is under no legal hold", field="version")
            append_event(connection, event)

    def renew_key(self, name: str, version: str, wrapped: JsonValue, event: LifecycleEvent) -> None:
        """See `Catalogue.renew_key`."""
        with writing(self._engine, SUBJECT) as connection:
            _require(connection, name, version)
            earlier = delete(RENEWED_KEY_TABLE).where(_RENEWED.name == name, _RENEWED.version == version)
            connection.execute(earlier)
            values = {"name": name, "version": version, "wrapped": json.dumps(wrapped), "renewed_at": utc_instant()}
            connection.execute(insert(RENEWED_KEY_TABLE).values(values))
            append_event(connection, event)

    def remove_files(self, versions: Sequence[tuple[str, str]], event: Callable[[str, str], LifecycleEvent]) -> int:
        """See `Catalogue.remove_files`."""
        removed = 0
        with writing(self._engine, SUBJECT) as connection:
            held = {tuple(row) for row in connection.execute(select(_HOLD.name, _HOLD.version))}
            for name, version in versions:
                if (name, version) in held:
                    continue
                mark = update(VERSION_TABLE).where(
                    _VERSION.name == name, _VERSION.version == version, _VERSION.removed_at.is_(None)
                )
                if connection.execute(mark.values(removed_at=utc_instant())).rowcount:
                    append_event(connection, event(name, version))
                    removed += 1
        return removed


def _highest(name: str, *columns: Any) -> Select[Any]:
    wanted = columns or (_VERSION.version,)
    return select(*wanted).where(_VERSION.name == name).order_by(_VERSION.precedence.desc()).limit(1)


def _require(connection: Connection, name: str, version: str) -> None:
    known = select(_VERSION.version).where(_VERSION.name == name, _VERSION.version == version)
    if connection.execute(known).one_or_none() is None:
        raise _unknown(connection, name, version)


def _lift(connection: Connection, name: str, version: str) -> bool:
    return bool(connection.execute(delete(HOLD_TABLE).where(_HOLD.name == name, _HOLD.version == version)).rowcount)


def _unknown(connection: Connection, name: str, spec: str) -> UnknownVersionError:
    named = select(_VERSION.version).where(_VERSION.name == name).order_by(_VERSION.precedence.desc()).limit(3)
    found = list(connection.execute(named).scalars())
    if not found:
        return UnknownVersionError(
            f"there is no model {name!r}; 'acgs registry list' shows those there are", field="name"
        )
    wanted = "no release, only pre-releases" if spec == LATEST else f"no version {spec}"
    return UnknownVersionError(f"{name} has {wanted}; the highest are {', '.join(found)}", field="version")


def _columns(record: Record, key: str) -> dict[str, Any]:
    facts = record.facts
    return {
        "name": facts.name,
        "version": facts.version,
        "precedence": key,
        "kind": facts.kind,
        "artifact_digest": facts.artifact_digest,
        "artifact_bytes": facts.artifact_bytes,
        "constitution_digest": facts.constitution_digest,
        "parent": facts.parent,
        "base": facts.base,
        "created_at": facts.created_at,
        "created_by": facts.created_by,
        "facts": facts.model_dump_json(),
        "manifest": json.dumps(record.manifest),
        "signatures": json.dumps(record.signatures),
    }


def _record(row: Row[Any], renewed: str | None) -> Record:
    """`renewed` stands for the wrapped key in the manifest; None: it was never wrapped anew."""
    manifest = json.loads(row.manifest)
    return Record(
        facts=VersionFacts.model_validate_json(row.facts),
        manifest=manifest if renewed is None else {**manifest, "key": json.loads(renewed)},
        signatures=json.loads(row.signatures),
        removed_at=row.removed_at,
    )

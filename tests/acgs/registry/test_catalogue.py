"""The contract of the catalogue, on every database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from acgs.errors import InvalidInputError
from acgs.registry.catalogue import UnknownVersionError, VersionTakenError, split_reference
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.semver import parse
from acgs.registry.sql_catalogue import SqlCatalogue
from acgs.registry.sql_lifecycle import SqlEventLog
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade
from tests.acgs.registry.conftest import Register, made

PROCESSES = 3
VERSIONS_EACH = 8


def test_a_version_is_found_again_as_it_was_put(register: Register, catalogue: SqlCatalogue) -> None:
    put = register("triage", "1.2.3-rc.1+build.7", metrics={"accuracy": 0.5}, metadata={"note": "ü", "n": [1, None]})
    assert catalogue.get("triage", "1.2.3-rc.1+build.7") == put


def test_a_number_is_given_once(register: Register, catalogue: SqlCatalogue) -> None:
    first = register("triage", "1.0.0")
    with pytest.raises(VersionTakenError, match=r"triage@1\.0\.0 exists"):
        register("triage", "1.0.0")
    with pytest.raises(VersionTakenError):
        register("triage", "1.0.0+other")
    register("intake", "1.0.0")
    assert catalogue.get("triage", "1.0.0") == first


def test_versions_are_listed_by_precedence_not_by_text(register: Register, catalogue: SqlCatalogue) -> None:
    for number in ("1.9.0", "1.10.0", "1.10.0-rc.2", "1.10.0-rc.10", "1.10.0-alpha"):
        register("triage", number)
    found = [line.version for line in catalogue.find("triage")]
    assert found == ["1.10.0", "1.10.0-rc.10", "1.10.0-rc.2", "1.10.0-alpha", "1.9.0"]


def test_latest_is_the_highest_release(register: Register, catalogue: SqlCatalogue) -> None:
    for number in ("1.9.0", "1.10.0", "2.0.0-rc.1", "1.9.1"):
        register("triage", number)
    assert catalogue.get("triage", "latest").facts.version == "1.10.0"


def test_what_is_not_there_is_named_with_what_is(register: Register, catalogue: SqlCatalogue) -> None:
    register("triage", "2.0.0-rc.1")
    with pytest.raises(UnknownVersionError, match="no release, only pre-releases") as refused:
        catalogue.get("triage", "latest")
    assert refused.value.field == "version"
    with pytest.raises(UnknownVersionError, match=r"no version 1\.0\.0; .*2\.0\.0-rc\.1"):
        catalogue.get("triage", "1.0.0")
    with pytest.raises(UnknownVersionError, match="no model 'intake'"):
        catalogue.get("intake", "latest")
    with pytest.raises(InvalidInputError, match="no semantic version"):
        catalogue.get("triage", "newest")


def test_the_database_itself_refuses_to_change_or_drop_a_version(register: Register, engine: Engine) -> None:
    register("triage", "1.0.0")
    for statement in (
        "UPDATE model_versions SET facts = '{}'",
        "DELETE FROM model_versions",
        "UPDATE lifecycle_events SET details = '{}'",
        "DELETE FROM lifecycle_events",
    ):
        with pytest.raises(DBAPIError, match=r"immutable|append-only"), engine.begin() as connection:
            connection.execute(text(statement))


def test_a_version_and_its_event_come_together_or_not_at_all(
    catalogue: SqlCatalogue, event_log: SqlEventLog, register: Register
) -> None:
    register("triage", "1.0.0")
    too_long = made("triage", metadata={"note": "x"})

    def failing(version):  # type: ignore[no-untyped-def]
        record, event = too_long(version)
        return record, LifecycleEvent(event.kind, event.actor, event.name, event.version, {"note": "x" * 70_000})

    with pytest.raises(InvalidInputError, match="takes"):
        catalogue.register("triage", lambda current: parse("1.1.0"), failing)
    assert [line.version for line in catalogue.find()] == ["1.0.0"]
    assert [event.subject for event in event_log.events()] == ["triage@1.0.0"]


def test_removing_files_keeps_facts_and_number_and_passes_held_versions_over(
    register: Register, catalogue: SqlCatalogue
) -> None:
    register("triage", "1.0.0")
    register("triage", "1.1.0")
    hold = LifecycleEvent("model.version.held", "mia", "triage", "1.1.0")
    catalogue.hold("triage", "1.1.0", "case 7", hold)

    def gone(name: str, version: str) -> LifecycleEvent:
        return LifecycleEvent("model.files.removed", "gc", name, version)

    both = [("triage", "1.0.0"), ("triage", "1.1.0")]
    assert catalogue.remove_files(both, gone) == 1
    assert catalogue.remove_files(both, gone) == 0
    assert catalogue.get("triage", "1.0.0").removed_at is not None
    assert [record.facts.version for record in catalogue.records()] == ["1.1.0"]
    with pytest.raises(VersionTakenError):
        register("triage", "1.0.0")
    assert [line.held for line in catalogue.find("triage")] == [True, False]


def test_a_hold_is_lifted_once(register: Register, catalogue: SqlCatalogue) -> None:
    register("triage", "1.0.0")
    event = LifecycleEvent("model.version.held", "mia", "triage", "1.0.0")
    lifted = LifecycleEvent("model.version.hold_lifted", "mia", "triage", "1.0.0")
    catalogue.hold("triage", "1.0.0", "case 7", event)
    catalogue.release_hold("triage", "1.0.0", lifted)
    with pytest.raises(UnknownVersionError, match="no legal hold"):
        catalogue.release_hold("triage", "1.0.0", lifted)
    with pytest.raises(UnknownVersionError):
        catalogue.hold("triage", "9.0.0", "case 7", event)


def test_processes_that_write_at_once_never_share_a_version_and_lose_none(tmp_path: Path) -> None:
    url = default_url(tmp_path)
    upgrade(open_engine(url))
    code = (
        "import sys;  from acgs.registry.semver import *;"
        "from acgs.registry.sql_catalogue import SqlCatalogue;"
        "from acgs.storage.engine import open_engine; from tests.acgs.registry.conftest import made\n"
        "engine = open_engine(sys.argv[1]); catalogue = SqlCatalogue(engine)\n"
        "choose = lambda current: successor(current, VersionPolicy.PATCH)\n"
        f"for _ in range({VERSIONS_EACH}):\n"
        "    catalogue.register('triage', choose, made('triage'))\n"
    )
    root = Path(__file__).resolve().parents[3]
    started = [subprocess.Popen([sys.executable, "-c", code, url], cwd=root) for _ in range(PROCESSES)]
    assert [process.wait(timeout=300) for process in started] == [0] * PROCESSES
    found = [line.version for line in SqlCatalogue(open_engine(url)).find("triage")]
    total = PROCESSES * VERSIONS_EACH
    assert found == [f"1.0.{patch}" for patch in reversed(range(total))]
    numbers = [event.number for event in SqlEventLog(open_engine(url)).events()]
    assert numbers == list(range(1, total + 1))


@pytest.mark.parametrize(
    ("reference", "parts"), [("triage", ("triage", "latest")), ("triage@1.0.0", ("triage", "1.0.0"))]
)
def test_a_reference_names_a_model_and_perhaps_a_version(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts


@pytest.mark.parametrize("reference", ["", "@1.0.0", "triage@"])
def test_half_a_reference_is_refused(reference: str) -> None:
    with pytest.raises(InvalidInputError, match="write name or name@version"):
        split_reference(reference)


def test_a_renewed_key_stands_for_the_one_in_the_manifest(register: Register, catalogue: SqlCatalogue) -> None:
    put, other = register("triage", "1.0.0"), register("triage", "1.1.0")
    for wrapped in ({"key_id": "k2", "data": "aa"}, {"key_id": "k3", "data": "bb"}):
        event = LifecycleEvent("model.key.rewrapped", "ada", "triage", "1.0.0")
        catalogue.renew_key("triage", "1.0.0", dict(wrapped), event)
        found = catalogue.get("triage", "1.0.0")
        assert found.manifest == {**dict(put.manifest), "key": wrapped}  # type: ignore[arg-type]
        assert (found.facts, found.signatures) == (put.facts, put.signatures)
        assert catalogue.records() == [found, other]
    with pytest.raises(UnknownVersionError):
        catalogue.renew_key("triage", "9.9.9", {}, LifecycleEvent("model.key.rewrapped", "ada", "triage", "9.9.9"))

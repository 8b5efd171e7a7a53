"""The registry as a whole: files in, the same files out, and every fault on the way named."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acgs.audit.installation import audit_directory
from acgs.audit.journal_reader import read_batch
from acgs.constitution.lock import LockedConstitution
from acgs.errors import AuditWriteError, IntegrityError, InvalidInputError, UnavailableError
from acgs.registry.catalogue import UnknownVersionError, VersionTakenError
from acgs.registry.collection import collect
from acgs.registry.describing import describe
from acgs.registry.doctor import examine
from acgs.registry.opening import open_registry
from acgs.registry.registry import Registry, Wanted
from acgs.registry.retention import RetentionPolicy
from acgs.settings import Settings

LATER = timedelta(days=400)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return open_registry(settings)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "README.md").write_text("a model\n")
    (folder / "inner" / "weights.json").write_text('{"w": [1, 2, 3]}')
    return folder


def make(
    registry: Registry, source: Path, constitution: LockedConstitution, name: str = "triage", **more: object
) -> str:
    version = more.pop("version", None)
    record = registry.create(
        name,
        source,
        describe({"kind": "files", **more}),
        actor="mia",
        constitution=constitution,
        wanted=Wanted(version),  # type: ignore[arg-type]
    )
    return record.facts.reference


def test_what_comes_out_is_what_went_in(
    registry: Registry, model: Path, constitution: LockedConstitution, tmp_path: Path
) -> None:
    reference = make(registry, model, constitution, metrics={"accuracy": 0.9})
    place = registry.fetch(reference, tmp_path / "out")
    for file in ("README.md", "inner/weights.json"):
        assert (place / file).read_bytes() == (model / file).read_bytes()
    facts = registry.get("triage").facts
    assert (facts.constitution_digest, facts.created_by) == (constitution.digest, "mia")
    assert facts.model_id == "triage_1.0.0_uncommit"
    assert registry.verify(reference).holds


def test_the_same_files_have_the_same_digest_and_are_stored_once(
    registry: Registry, model: Path, constitution: LockedConstitution, settings: Settings
) -> None:
    first, second = make(registry, model, constitution), make(registry, model, constitution, "other")
    assert registry.get(first).facts.artifact_digest == registry.get(second).facts.artifact_digest
    stored = [p for p in (settings.state_dir / "artifacts" / "chunks").rglob("*") if p.is_file()]
    assert len(stored) == 2


def test_the_cache_is_looked_at_each_time(registry: Registry, model: Path, constitution: LockedConstitution) -> None:
    place = registry.fetch(make(registry, model, constitution))
    assert registry.fetch("triage") == place
    (place / "README.md").write_text("another model\n")
    with pytest.raises(IntegrityError, match="cached files"):
        registry.fetch("triage")
    (ailment,) = examine(registry)
    assert ailment.mend is not None
    ailment.mend()
    assert registry.fetch("triage") == place
    assert examine(registry) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "lose"])
def test_a_damaged_store_is_reported_and_nothing_is_returned(
    registry: Registry, model: Path, constitution: LockedConstitution, settings: Settings, damage: str, tmp_path: Path
) -> None:
    reference = make(registry, model, constitution)
    chunk = next(p for p in (settings.state_dir / "artifacts" / "chunks").rglob("*") if p.is_file())
    chunk.chmod(0o600)
    data = bytearray(chunk.read_bytes())
    if damage == "lose":
        chunk.unlink()
    else:
        data[len(data) // 2] ^= 1
        chunk.write_bytes(bytes(data) if damage == "flip" else bytes(data[:-1]))
    assert not registry.verify(reference).holds
    with pytest.raises(IntegrityError):
        registry.fetch(reference, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if damage != "flip":
        assert [a.mendable for a in examine(registry)] == [False]


def test_facts_that_were_changed_behind_the_databases_back_are_noticed(
    registry: Registry, model: Path, constitution: LockedConstitution, settings: Settings
) -> None:
    import sqlite3

    make(registry, model, constitution, metrics={"accuracy": 0.5})
    database = sqlite3.connect(settings.state_dir / "acgs.db")
    database.execute("DROP TRIGGER model_versions_no_update")
    database.execute("UPDATE model_versions SET facts = replace(facts, '0.5', '0.9')")
    database.commit()
    check = registry.verify("triage")
    assert not check.holds
    assert "not what was signed" in check.faults[0]
    with pytest.raises(IntegrityError):
        registry.fetch("triage")


def test_another_installations_key_opens_and_signs_nothing_here(
    registry: Registry, model: Path, constitution: LockedConstitution, settings: Settings
) -> None:
    make(registry, model, constitution)
    key = settings.state_dir / "keys" / "artifacts.key"
    key.unlink()
    with pytest.raises((UnavailableError, IntegrityError)):
        open_registry(settings).fetch("triage")


@pytest.mark.parametrize("name", ["", "Triage", "../triage", "triage/x", "-triage", "a" * 129, "triage\n"])
def test_a_name_that_is_no_name_is_refused(
    registry: Registry, model: Path, constitution: LockedConstitution, name: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        make(registry, model, constitution, name)
    assert refused.value.field == "name"


def test_relatives_must_exist(registry: Registry, model: Path, constitution: LockedConstitution) -> None:
    with pytest.raises(InvalidInputError, match=r"parent triage@1\.0\.0 does not exist"):
        make(registry, model, constitution, parent="1.0.0")
    with pytest.raises(InvalidInputError, match=r"base tiny@1\.0\.0 does not exist"):
        make(registry, model, constitution, base="tiny@1.0.0")
    assert registry.find() == []


def test_a_refused_version_leaves_the_registry_as_it_was(
    registry: Registry, model: Path, constitution: LockedConstitution
) -> None:
    make(registry, model, constitution, version="1.0.0")
    with pytest.raises(VersionTakenError):
        make(registry, model, constitution, version="1.0.0")
    (model / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidInputError, match="pkl"):
        make(registry, model, constitution)
    assert [line.reference for line in registry.find()] == ["triage@1.0.0"]
    assert len(registry.events.events()) == 1


def test_lineage_names_everything_a_version_comes_from(
    registry: Registry, model: Path, constitution: LockedConstitution
) -> None:
    base = make(registry, model, constitution, "tiny")
    data = [{"name": "visits", "digest": "d" * 64}]
    first = make(registry, model, constitution, data=data, base=base)
    make(registry, model, constitution, parent="1.0.0", data=data)
    make(registry, model, constitution, "unrelated")
    graph = registry.lineage(first)
    assert {node.identity for node in graph.nodes if node.kind == "version"} == {base, first, "triage@1.1.0"}
    relations = {(e.source, e.relation, e.target) for e in graph.edges}
    assert (f"version:{first}", "base", f"version:{base}") in relations
    assert ("version:triage@1.1.0", "parent", f"version:{first}") in relations
    assert (f"version:{first}", "data", f"data:{'d' * 64}") in relations
    assert graph.as_dot().count("->") == len(graph.edges)


def test_every_change_is_in_the_audit_journal(
    registry: Registry, model: Path, constitution: LockedConstitution, settings: Settings
) -> None:
    reference = make(registry, model, constitution)
    registry.hold(reference, "case 7", actor="noor")
    registry.lift_hold(reference, actor="noor")
    batch = read_batch(audit_directory(settings).journals, {}, 100)
    kinds = [entry.split(b'"kind":"')[1].split(b'"')[0] for entry in batch.entries]
    assert sorted(kinds) == [b"model.version.created", b"model.version.held", b"model.version.hold_lifted"]


def test_a_version_whose_event_missed_the_audit_log_is_mended(
    registry: Registry, model: Path, constitution: LockedConstitution, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_events: object) -> None:
        raise AuditWriteError("full")

    with monkeypatch.context() as broken:
        broken.setattr(registry._trail, "record", fail)
        with pytest.raises(AuditWriteError):
            make(registry, model, constitution)
    (ailment,) = examine(registry)
    assert "audit log" in ailment.what
    assert ailment.mend is not None
    ailment.mend()
    assert examine(registry) == []


def test_collecting_shows_first_and_removes_only_what_nobody_needs(
    registry: Registry, model: Path, constitution: LockedConstitution, settings: Settings
) -> None:
    for number in range(4):
        (model / "README.md").write_text(f"version {number}\n")
        make(registry, model, constitution, "triage")
    policy = RetentionPolicy(timedelta(days=90), keep_latest=1)
    now = datetime.now(UTC) + LATER
    shown = collect(registry, policy, ["triage@1.0.0"], actor="gc", now=now)
    assert (shown.versions, shown.chunks, shown.dry_run) == (2, 2, True)
    assert all(registry.verify(line.reference).holds for line in registry.find())
    done = collect(registry, policy, ["triage@1.0.0"], actor="gc", now=now, dry_run=False)
    assert (done.versions, done.chunks) == (2, 2)
    kept = {line.version for line in registry.find() if line.removed_at is None}
    assert kept == {"1.0.0", "1.3.0"}
    for version in kept:
        assert registry.verify(f"triage@{version}").holds
    with pytest.raises(IntegrityError, match="were removed"):
        registry.fetch("triage@1.1.0")
    assert registry.verify("triage@1.1.0").removed
    again = collect(registry, policy, ["triage@1.0.0"], actor="gc", now=now, dry_run=False)
    assert (again.versions, again.chunks) == (0, 0)


def test_what_is_held_and_what_it_was_made_from_stays(
    registry: Registry, model: Path, constitution: LockedConstitution
) -> None:
    make(registry, model, constitution)
    make(registry, model, constitution, parent="1.0.0")
    make(registry, model, constitution)
    registry.hold("triage@1.1.0", "case 7", actor="noor")
    done = collect(
        registry, RetentionPolicy(timedelta(0), 1), [], actor="gc", now=datetime.now(UTC) + LATER, dry_run=False
    )
    assert done.versions == 0
    with pytest.raises(UnknownVersionError):
        registry.lift_hold("triage@1.0.0", actor="noor")


KILLED_AT = (
    ("create", "acgs.registry.artifacts.store.ArtifactStore.put"),
    ("create", "acgs.registry.sql_catalogue.append_event"),
    ("create", "acgs.registry.lifecycle.carry_over"),
    ("create", "acgs.registry.sql_lifecycle.SqlEventLog.mark_audited"),
    ("gc", "acgs.registry.sql_catalogue.SqlCatalogue.remove_files"),
    ("gc", "acgs.registry.artifacts.store.ArtifactStore.unreferenced"),
    ("gc", "acgs.registry.artifacts.store.ArtifactStore.remove"),
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("what", "step"), KILLED_AT)
def test_a_kill_at_any_step_leaves_a_registry_that_holds(
    settings: Settings, model: Path, constitution: LockedConstitution, what: str, step: str, when: str
) -> None:
    registry = open_registry(settings)
    make(registry, model, constitution)
    (model / "README.md").write_text("the second\n")
    make(registry, model, constitution)
    (model / "README.md").write_text("the third\n")
    program = "tests.acgs.registry.killed_process"
    words = [sys.executable, "-m", program, what, step, when, str(settings.state_dir), str(model)]
    root = Path(__file__).resolve().parents[3]
    killed = subprocess.run(words, cwd=root, check=False, timeout=300, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    registry = open_registry(settings)
    for line in registry.find():
        assert registry.verify(line.reference).holds
    for ailment in examine(registry, now=datetime.now(UTC) + LATER):
        assert ailment.mend is not None, ailment.what
        ailment.mend()
    assert examine(registry, now=datetime.now(UTC) + LATER) == []
    assert {line.reference for line in registry.find()} >= {"triage@1.0.0", "triage@1.1.0"}
    make(registry, model, constitution)

"""After a rotation the keys of artifacts are wrapped anew, and only then the earlier wrapping key can go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import text

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError
from acgs.registry.artifacts.keys import KeyFile
from acgs.registry.artifacts.opening import KEY_FILE
from acgs.registry.artifacts.secret import POINTER
from acgs.registry.artifacts.store import ArtifactStore
from acgs.registry.catalogue import Record
from acgs.registry.collection import collect
from acgs.registry.doctor import examine
from acgs.registry.opening import open_registry
from acgs.registry.registry import Registry
from acgs.registry.retention import RetentionPolicy
from acgs.registry.rewrapping import REWRAPPED, keys_in_use, retire_key, rewrap
from acgs.registry.sql_catalogue import SqlCatalogue
from acgs.settings import Settings
from acgs.storage.engine import configured_url, open_engine
from tests.acgs.registry.test_registry import LATER, make, model, registry, settings

__all__ = ["model", "registry", "settings"]


@pytest.fixture
def keys(settings: Settings, registry: Registry) -> KeyFile:
    return KeyFile(settings.state_dir.resolve() / KEY_FILE)


@pytest.fixture
def two(registry: Registry, model: Path, constitution: LockedConstitution) -> list[str]:
    """Two versions under one key."""
    first = make(registry, model, constitution)
    (model / "README.md").write_text("the second\n")
    return [first, make(registry, model, constitution)]


def without_cache(settings: Settings) -> Registry:
    """The registry as another process has it."""
    return open_registry(settings)


def test_every_version_is_read_with_the_new_key_alone(
    settings: Settings, registry: Registry, keys: KeyFile, two: list[str], tmp_path: Path
) -> None:
    old = keys.key_id
    before = {reference: registry.get(reference) for reference in two}
    new = keys.rotate()
    done = rewrap(registry, actor="ada", dry_run=False)
    assert (done.key_id, done.artifacts, done.secret, done.faults) == (new, 2, True, ())
    assert done.under == {old: 3}
    retire_key(registry, keys, old)
    assert keys.key_ids() == [new]
    after = without_cache(settings)
    for number, reference in enumerate(two):
        assert after.verify(reference).holds
        assert after.fetch(reference, tmp_path / str(number)).is_dir()
        record = after.get(reference)
        assert (record.facts, record.signatures) == (before[reference].facts, before[reference].signatures)
    told = [(e.actor, e.subject, e.details["key_id"]) for e in registry.events.events(kinds=[REWRAPPED])]
    assert told == [("ada", reference, new) for reference in two]


def test_a_look_changes_nothing_and_a_second_run_finds_nothing_to_do(
    registry: Registry, keys: KeyFile, two: list[str]
) -> None:
    keys.rotate()
    looked = rewrap(registry, actor="")
    assert (looked.artifacts, looked.secret, looked.dry_run) == (2, True, True)
    assert keys_in_use(registry) == looked.under
    assert registry.events.events(kinds=[REWRAPPED]) == []
    rewrap(registry, actor="ada", dry_run=False)
    again = rewrap(registry, actor="ada", dry_run=False)
    assert (again.artifacts, again.secret) == (0, False)
    assert len(registry.events.events(kinds=[REWRAPPED])) == 2


def test_what_was_signed_stays_in_the_database_as_it_was(
    settings: Settings, registry: Registry, keys: KeyFile, two: list[str]
) -> None:
    def kept() -> list[str]:
        with open_engine(configured_url(settings)).connect() as connection:
            rows = connection.execute(text("SELECT manifest FROM model_versions ORDER BY version"))
            return list(rows.scalars())

    before = kept()
    for _ in range(2):
        keys.rotate()
        rewrap(registry, actor="ada", dry_run=False)
    assert kept() == before
    assert json.loads(before[0])["key"]["key_id"] not in keys_in_use(registry)


def test_a_key_that_something_is_under_or_that_wraps_now_stays(
    registry: Registry, keys: KeyFile, two: list[str]
) -> None:
    old = keys.key_id
    with pytest.raises(InvalidInputError, match="3 wrapped keys need"):
        retire_key(registry, keys, old)
    new = keys.rotate()
    with pytest.raises(InvalidInputError, match="rewrap --apply"):
        retire_key(registry, keys, old)
    rewrap(registry, actor="ada", dry_run=False)
    for wrong in (new, "0" * 16):
        with pytest.raises(InvalidInputError):
            retire_key(registry, keys, wrong)
    assert keys.key_ids() == [old, new]
    for reference in two:
        assert registry.verify(reference).holds


def test_one_artifact_whose_key_is_damaged_does_not_keep_the_others_back(
    settings: Settings, registry: Registry, keys: KeyFile, two: list[str]
) -> None:
    keys.rotate()
    rewrap(registry, actor="ada", dry_run=False)
    with open_engine(configured_url(settings)).begin() as connection:
        row = connection.execute(text("SELECT wrapped FROM renewed_artifact_keys WHERE version = '1.0.0'")).scalar_one()
        damaged = json.dumps({**json.loads(row), "data": "00" * 40})
        connection.execute(
            text("UPDATE renewed_artifact_keys SET wrapped = :wrapped WHERE version = '1.0.0'"), {"wrapped": damaged}
        )
    middle = keys.key_id
    keys.rotate()
    done = rewrap(registry, actor="ada", dry_run=False)
    assert done.artifacts == 1
    assert [fault.partition(":")[0] for fault in done.faults] == ["triage@1.0.0"]
    with pytest.raises(InvalidInputError, match="1 wrapped keys need"):
        retire_key(registry, keys, middle)
    assert registry.verify("triage@1.1.0").holds
    assert not registry.verify("triage@1.0.0").holds


def test_versions_whose_files_were_collected_need_no_key(registry: Registry, keys: KeyFile, two: list[str]) -> None:
    from datetime import UTC, datetime, timedelta

    collect(registry, RetentionPolicy(timedelta(0), 1), [], actor="gc", dry_run=False, now=datetime.now(UTC) + LATER)
    old = keys.key_id
    keys.rotate()
    assert rewrap(registry, actor="ada", dry_run=False).artifacts == 1
    retire_key(registry, keys, old)
    assert registry.verify("triage@1.1.0").holds


def _during_the_put(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Something happens between the storing of a version's files and its registration."""
    put = ArtifactStore.put

    def long_put(store: ArtifactStore, *args: object, **kwargs: object) -> object:
        manifest = put(store, *args, **kwargs)  # type: ignore[arg-type]
        happens()
        return manifest

    monkeypatch.setattr(ArtifactStore, "put", long_put)


def test_a_version_put_while_the_key_is_rotated_is_under_the_new_one(
    settings: Settings,
    registry: Registry,
    keys: KeyFile,
    model: Path,
    constitution: LockedConstitution,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = keys.key_id
    _during_the_put(monkeypatch, keys.rotate)
    reference = make(registry, model, constitution)
    assert keys_in_use(registry) == {old: 1, keys.key_id: 1}
    rewrap(registry, actor="ada", dry_run=False)
    retire_key(registry, keys, old)
    assert without_cache(settings).verify(reference).holds


def test_a_version_whose_key_was_given_up_during_the_put_is_made_under_the_next_one(
    settings: Settings,
    registry: Registry,
    keys: KeyFile,
    model: Path,
    constitution: LockedConstitution,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _during_the_put(monkeypatch, lambda: _give_up_the_key(registry, keys))
    reference = make(registry, model, constitution)
    assert keys_in_use(registry) == {keys.key_id: 2}
    assert without_cache(settings).verify(reference).holds


def test_no_key_is_given_up_between_the_wrapping_of_a_version_and_its_registration(
    settings: Settings,
    registry: Registry,
    keys: KeyFile,
    model: Path,
    constitution: LockedConstitution,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = Thread(target=_give_up_the_key, args=(without_cache(settings), keys))
    register = SqlCatalogue.register

    def late(catalogue: SqlCatalogue, *args: Any) -> Record:
        other.start()
        other.join(0.5)
        return register(catalogue, *args)

    monkeypatch.setattr(SqlCatalogue, "register", late)
    reference = make(registry, model, constitution)
    other.join()
    assert without_cache(settings).verify(reference).holds


def test_a_lost_wrapping_key_is_told_of_every_version_that_needs_it(
    settings: Settings, registry: Registry, keys: KeyFile, two: list[str], model: Path, constitution: LockedConstitution
) -> None:
    lost, place = keys.key_id, settings.state_dir.resolve() / KEY_FILE
    keys.rotate()
    (model / "README.md").write_text("the third\n")
    third = make(registry, model, constitution)
    place.write_text(place.read_text().splitlines()[-1] + "\n")
    after = without_cache(settings)
    for reference in two:
        (fault,) = after.verify(reference).faults
        assert "does not hold the key" in fault
    assert after.verify(third).holds
    told = [ailment for ailment in examine(after) if lost in ailment.what and "versions need" in ailment.what]
    assert [(ailment.what[:10], ailment.mendable) for ailment in told] == [("2 versions", False)]


def test_a_lost_key_of_the_registrys_own_secret_is_told(
    settings: Settings, registry: Registry, keys: KeyFile, model: Path
) -> None:
    old, place = keys.key_id, settings.state_dir.resolve() / KEY_FILE
    assert [ailment for ailment in examine(registry) if "secret" in ailment.what] == []
    registry.artifacts.put(model)
    keys.rotate()
    place.write_text(place.read_text().splitlines()[-1] + "\n")
    (told,) = [ailment for ailment in examine(without_cache(settings)) if "secret" in ailment.what]
    assert (old in told.what, "ACGS_ARTIFACTS" in told.advice) == (True, True)


def test_a_secret_that_is_gone_is_told_while_versions_rest_on_it(
    settings: Settings, registry: Registry, model: Path, constitution: LockedConstitution
) -> None:
    make(registry, model, constitution)
    assert [ailment for ailment in examine(registry) if "secret" in ailment.what] == []
    (place,) = settings.state_dir.rglob(Path(POINTER).name)
    place.unlink()
    (told,) = [ailment for ailment in examine(without_cache(settings)) if "secret" in ailment.what]
    assert "gone" in told.what


def _give_up_the_key(registry: Registry, keys: KeyFile) -> None:
    old = keys.key_id
    keys.rotate()
    rewrap(registry, actor="ada", dry_run=False)
    retire_key(registry, keys, old)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "step",
    [
        "acgs.registry.sql_catalogue.SqlCatalogue.renew_key",
        "acgs.registry.sql_catalogue.append_event",
        "acgs.registry.artifacts.store.ArtifactStore.rewrap_secret",
        "acgs.registry.lifecycle.carry_over",
    ],
)
def test_a_kill_in_the_middle_leaves_every_version_readable_and_the_next_run_goes_on(
    settings: Settings, keys: KeyFile, two: list[str], model: Path, step: str, when: str
) -> None:
    old = keys.key_id
    keys.rotate()
    words = ["tests.acgs.registry.killed_process", "rewrap", step, when, str(settings.state_dir), str(model)]
    root = Path(__file__).resolve().parents[3]
    killed = subprocess.run(
        [sys.executable, "-m", *words], cwd=root, check=False, timeout=300, capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    registry = without_cache(settings)
    for reference in two:
        assert registry.verify(reference).holds
    rewrap(registry, actor="ada", dry_run=False)
    retire_key(registry, keys, old)
    for reference in two:
        assert without_cache(settings).verify(reference).holds

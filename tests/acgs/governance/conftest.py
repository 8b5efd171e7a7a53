from __future__ import annotations

import os
from pathlib import Path

import pytest

from acgs.audit.keys import SigningKey
from acgs.constitution.lock import LockedConstitution
from acgs.governance.assembly import open_governor
from acgs.governance.bundle import MANIFEST, load_bundle, shipped_bundle_directory
from acgs.governance.decision import Governor
from acgs.settings import Settings
from tests.acgs.governance.synthetic import JudgedForest, judged_forest, names_of, write_guard


def _open(state: Path, bundle: Path | None) -> Governor:
    settings = Settings(state_dir=state, bundle_path=bundle, rule_engine="clauses", rule_timeout_seconds=60)
    return open_governor(settings)


@pytest.fixture(scope="session")
def forest(constitution: LockedConstitution) -> JudgedForest:
    """A grown forest on synthetic scenarios."""
    return judged_forest(names_of(constitution))


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="session")
def guard_directory(
    constitution: LockedConstitution,
    forest: JudgedForest,
    signing_key: SigningKey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A small bundle, whole and signed."""
    directory = tmp_path_factory.mktemp("guard")
    write_guard(directory, constitution, forest, signing_key)
    return directory


@pytest.fixture(scope="session")
def governor(guard_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Governor:
    """A governor with the small bundle."""
    return _open(tmp_path_factory.mktemp("state"), guard_directory)


@pytest.fixture(scope="session")
def shipped_governor(constitution: LockedConstitution, tmp_path_factory: pytest.TempPathFactory) -> Governor:
    """A governor with the bundle that comes with the package, or another one that ACGS_TEST_GUARD_BUNDLE names."""
    given = os.environ.get("ACGS_TEST_GUARD_BUNDLE")
    directory = Path(given) if given else shipped_bundle_directory()
    if not (directory / MANIFEST).exists():
        pytest.skip("no guard bundle is shipped; train one with 'acgs train guard'")
    load_bundle(constitution, directory)
    return _open(tmp_path_factory.mktemp("shipped-state"), directory)

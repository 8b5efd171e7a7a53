"""A ledger in a fresh database of each kind, and plans that are cheap to compose."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from acgs.privacy.ledger import DataSet
from acgs.privacy.plan import PrivacyPlan
from acgs.privacy.sql_ledger import SqlLedger
from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade

MakePlan = Callable[..., PrivacyPlan]


@pytest.fixture(scope="session")
def make_plan() -> MakePlan:
    """A plan of 100 steps that costs epsilon 1 or so; arguments replace its fields."""

    def make(**values: object) -> PrivacyPlan:
        given: dict[str, object] = {"population": 10_000, "expected_batch": 100, "noise_multiplier": 1.0, "steps": 100}
        return PrivacyPlan(**(given | values))

    return make


@pytest.fixture
def data() -> DataSet:
    return DataSet("sha256:" + "a" * 64, "patients")


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(default_url(tmp_path))
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine() -> Iterator[Engine]:
    """A schema of its own in the given server's database, dropped at the end."""
    url = os.environ.get("ACGS_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("ACGS_TEST_POSTGRES_URL is not set: the contract ran on SQLite only")
    schema = f"acgs_test_{uuid.uuid4().hex}"
    server = create_engine(url)
    with server.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    joint = "&" if "?" in url else "?"
    engine = open_engine(f"{url}{joint}options=-csearch_path%3D{schema}")
    upgrade(engine)
    yield engine
    engine.dispose()
    with server.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    server.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The contract's backends."""
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture
def ledger(engine: Engine) -> SqlLedger:
    return SqlLedger(engine)

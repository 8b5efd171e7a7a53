"""A fresh database of each kind, for every part that keeps something in one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from acgs.storage.engine import default_url, open_engine
from acgs.storage.migrate import upgrade


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

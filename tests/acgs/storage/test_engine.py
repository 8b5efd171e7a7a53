from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from acgs.errors import InvalidInputError, UnavailableError
from acgs.storage.engine import database_exists, default_url, open_engine, place
from acgs.storage.transactions import reading, writing

PASSWORD = "s3cr3t-w0rd"


def test_sqlite_survives_power_cuts_and_concurrent_writers(tmp_path: Path) -> None:
    engine = open_engine(default_url(tmp_path / "made" / "on the way"))
    with reading(engine) as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000, "foreign_keys": 1}


def test_a_database_that_was_never_made_is_not_there(tmp_path: Path) -> None:
    url = default_url(tmp_path)
    assert not database_exists(url)
    with reading(open_engine(url)) as connection:
        connection.execute(text("SELECT 1"))
    assert database_exists(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://user@host/name",
        "oracle9://x",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://h:port/x",
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        open_engine(url)
    assert refused.value.field == "database_url"


def test_a_place_names_neither_user_nor_password() -> None:
    url = f"postgresql+psycopg://alice:{PASSWORD}@db.example:5433/acgs?password={PASSWORD}"
    assert place(url) == "postgresql://db.example:5433/acgs"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://alice:{PASSWORD}@127.0.0.1:9/acgs?connect_timeout=2",
        f"postgresql+psycopg://127.0.0.1:9/acgs?user=alice&password={PASSWORD}&connect_timeout=2",
        f"mysql://alice:{PASSWORD}@host/name",
        f"postgresql://alice:{PASSWORD}@host:port/name",
    ],
)
def test_a_password_reaches_neither_errors_nor_logs(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises((UnavailableError, InvalidInputError)) as failed, reading(open_engine(SecretStr(url))):
        pass
    error: BaseException | None = failed.value
    while error is not None:
        assert PASSWORD not in repr(error) + str(error)
        error = None if error.__suppress_context__ else error.__cause__ or error.__context__
    assert PASSWORD not in caplog.text


def test_parameters_of_a_failed_statement_are_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as failed, writing(open_engine(default_url(tmp_path)), "test") as connection:
        connection.execute(text("INSERT INTO absent VALUES (:word)"), {"word": PASSWORD})
    assert PASSWORD not in str(failed.value)


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "acgs.db").write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(UnavailableError, match="cannot be used"), reading(open_engine(default_url(tmp_path))):
        pass


def test_a_new_file_and_its_journal_are_its_owners_alone_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    earlier = os.umask(0o022)
    try:
        with reading(open_engine(default_url(tmp_path / "new"))) as connection:
            connection.exec_driver_sql("SELECT 1")
            made = list((tmp_path / "new").iterdir())
            assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
    finally:
        os.umask(earlier)
    (tmp_path / "acgs.db").touch()
    (tmp_path / "acgs.db").chmod(0o640)
    with reading(open_engine(default_url(tmp_path))) as connection:
        connection.exec_driver_sql("SELECT 1")
    assert (tmp_path / "acgs.db").stat().st_mode & 0o777 == 0o640


def test_no_file_is_made_before_the_first_use(tmp_path: Path) -> None:
    open_engine(default_url(tmp_path))
    assert not database_exists(default_url(tmp_path))

"""Opens the database that a URL names: SQLite set up for durable, concurrent writers, or PostgreSQL.

A URL may hold a password. Neither it nor any parameter of a statement reaches a log or an error: messages name the
database by `place`, which keeps driver, host and name only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from acgs.errors import InvalidInputError
from acgs.settings import Settings

DATABASE_FILE: Final = "acgs.db"
BUSY_TIMEOUT_SECONDS: Final = 30
IMMEDIATE: Final = "acgs_immediate"
"""Execution option of a connection that is going to write: SQLite then takes the write lock at once."""


def default_url(state_dir: Path) -> str:
    """The URL of the SQLite file in `state_dir`."""
    return URL.create("sqlite", database=str(state_dir.absolute() / DATABASE_FILE)).render_as_string()


def configured_url(settings: Settings) -> SecretStr:
    """The URL that the deployment names, or the SQLite file in its state directory."""
    return settings.database_url or SecretStr(default_url(settings.state_dir))


def open_engine(url: SecretStr | str, *, create: bool = True) -> Engine:
    """The engine for `url`. Connects on first use; with `create`, the folder of a SQLite file is made.

    A SQLite file that is made then is its owner's alone; one that is there keeps its mode.

    Raises:
        InvalidInputError: the URL is none, or names a database that is neither SQLite in a file nor PostgreSQL.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True)
    if create:
        database_file(parsed).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "do_connect", lambda *_: _make_private(parsed))
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def place(url: URL | SecretStr | str) -> str:
    """Where a database is, without user, password and options."""
    parsed = url if isinstance(url, URL) else _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return str(parsed.database)
    port = f":{parsed.port}" if parsed.port else ""
    return f"{parsed.get_backend_name()}://{parsed.host or 'localhost'}{port}/{parsed.database or ''}"


def database_exists(url: SecretStr | str) -> bool:
    """False for a SQLite file that was never made. A server's database is taken to exist."""
    parsed = _parse(url)
    return parsed.get_backend_name() != "sqlite" or database_file(parsed).is_file()


def database_file(url: URL) -> Path:
    """The file of a SQLite URL."""
    return Path(str(url.database))


def _parse(url: SecretStr | str) -> URL:
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    try:
        parsed = make_url(text)
        backend = parsed.get_backend_name()
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        raise InvalidInputError(
            "the database URL cannot be used; write sqlite:////folder/file.db or postgresql+psycopg://user@host/name",
            field="database_url",
        ) from None
    if backend not in ("sqlite", "postgresql"):
        raise InvalidInputError(f"databases are SQLite or PostgreSQL, not {backend}", field="database_url")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InvalidInputError("a SQLite database needs a file: sqlite:////folder/file.db", field="database_url")
    return parsed


def _make_private(url: URL) -> None:
    """Make the file before SQLite would, which lets all read it; its journals get the mode of the file."""
    if str(url.database).startswith("file:"):  # has parameters in it, which SQLite alone reads
        return
    with suppress(OSError):  # it is there already, or SQLite says what is wrong
        os.close(os.open(database_file(url), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _set_up_sqlite(connection: SqliteConnection, _record: Any) -> None:
    # The driver's own implicit BEGIN comes too late for a writer's lock; `_begin_sqlite` sends it.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

"""Brings a database to the tables of this version, and tells which version a database has."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from acgs.errors import UnavailableError
from acgs.storage.engine import place
from acgs.storage.transactions import reading, writing

_SCRIPTS = Path(__file__).with_name("migrations")
_SUBJECT = "migrations"


def upgrade(engine: Engine) -> None:
    """Apply the revisions that the database lacks, all or none. Processes that start together wait for the first.

    Raises:
        UnavailableError: the database cannot be written, or a later version of ACGS has made it.
    """
    if current_revision(engine) == latest_revision():
        return
    with writing(engine, _SUBJECT) as connection:
        try:
            command.upgrade(_config(connection), "head")
        except CommandError as error:
            raise UnavailableError(
                f"the database {place(engine.url)} was made by another version of ACGS; install that version or later"
            ) from error


def current_revision(engine: Engine) -> str | None:
    """The revision of the database; None for an empty one."""
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def latest_revision() -> str | None:
    """The revision that this version of ACGS works with."""
    return ScriptDirectory(str(_SCRIPTS)).get_current_head()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from acgs.errors import UnavailableError
from acgs.storage.engine import default_url, open_engine
from acgs.storage.metadata import METADATA
from acgs.storage.migrate import current_revision, latest_revision, upgrade
from acgs.storage.transactions import reading, writing


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    engine = open_engine(default_url(tmp_path))
    assert current_revision(engine) is None
    upgrade(engine)
    upgrade(engine)
    assert current_revision(engine) == latest_revision()


def test_the_migrations_make_the_tables_that_the_code_declares(tmp_path: Path) -> None:
    import acgs.learning.sessions.session_table
    import acgs.privacy.ledger_table
    import acgs.registry.tables
    import acgs.registry.webhooks.tables
    import acgs.serving.deployments.tables
    import acgs.serving.tables  # noqa: F401

    engine = open_engine(default_url(tmp_path))
    upgrade(engine)
    with reading(engine) as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert differences == []


def test_processes_that_start_together_all_find_the_tables(tmp_path: Path) -> None:
    code = (
        "import sys; from acgs.storage.engine import open_engine; from acgs.storage.migrate import upgrade;"
        "print('ready', flush=True); sys.stdin.readline(); upgrade(open_engine(sys.argv[1]))"
    )
    url = default_url(tmp_path)
    started = [
        subprocess.Popen([sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert current_revision(open_engine(url)) == latest_revision()


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    engine = open_engine(default_url(tmp_path))
    upgrade(engine)
    with writing(engine, "migrations") as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnavailableError, match="another version of ACGS"):
        upgrade(engine)
    assert current_revision(engine) == "9999"


def test_a_folder_name_with_a_percent_sign_does_no_harm(tmp_path: Path) -> None:
    engine = open_engine(default_url(tmp_path / "50%(x)s"))
    upgrade(engine)
    assert current_revision(engine) == latest_revision()

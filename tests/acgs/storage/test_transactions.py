from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from acgs.storage.engine import default_url, open_engine
from acgs.storage.transactions import reading, writing


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = open_engine(default_url(tmp_path))
    with writing(engine, "numbers") as connection:
        connection.execute(text("CREATE TABLE numbers (value INTEGER)"))
        connection.execute(text("INSERT INTO numbers VALUES (0)"))
    return engine


def _value(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(text("SELECT value FROM numbers")).scalar_one())


def test_what_a_writer_read_is_still_true_when_it_commits(engine: Engine) -> None:
    def add() -> None:
        for _ in range(20):
            with writing(engine, "numbers") as connection:
                before = connection.execute(text("SELECT value FROM numbers")).scalar_one()
                connection.execute(text("UPDATE numbers SET value = :value"), {"value": before + 1})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _value(engine) == 80


def test_nothing_of_a_failed_block_is_kept(engine: Engine) -> None:
    with pytest.raises(KeyError), writing(engine, "numbers") as connection:
        connection.execute(text("UPDATE numbers SET value = 7"))
        raise KeyError
    assert _value(engine) == 0


def test_a_reader_sees_one_state_throughout(engine: Engine) -> None:
    with reading(engine) as connection:
        before = connection.execute(text("SELECT value FROM numbers")).scalar_one()
        with writing(engine, "numbers") as other:
            other.execute(text("UPDATE numbers SET value = 7"))
        assert connection.execute(text("SELECT value FROM numbers")).scalar_one() == before
    assert _value(engine) == 7

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from train_jobs.line_source import BLOCK_BYTES, LineSource, lines_between

texts = st.lists(st.binary(max_size=12).filter(lambda text: b"\n" not in text), max_size=20)


@settings(deadline=None)
@given(texts, st.booleans(), st.integers(1, 30))
def test_every_line_is_read_once_and_in_order_however_the_file_is_cut(
    lines: list[bytes], ends_with_a_mark: bool, range_bytes: int
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(b"\n".join(lines) + (b"\n" if lines and ends_with_a_mark else b""))
        size = path.stat().st_size
        with path.open("rb") as handle:
            expected = handle.readlines()
        found = [
            item
            for start in range(0, size, range_bytes)
            for item in lines_between(path, start, min(start + range_bytes, size))
        ]
        assert [line for _, line in found] == expected
        whole = path.read_bytes()
        assert all(whole[place : place + len(line)] == line for place, line in found)


def test_a_task_hands_on_what_it_read_before_it_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    line = b"x" * 99_999 + b"\n"
    path.write_bytes(line * 50)
    tasks = LineSource([path], range_bytes=3_000_000).get_read_tasks(parallelism=1)
    blocks = [block for task in tasks for block in task()]
    assert len(tasks) == 2
    assert all(block.nbytes < BLOCK_BYTES + 2 * len(line) for block in blocks)
    assert pa.concat_tables(blocks)["line"].to_pylist() == [line] * 50


def test_files_follow_each_other_and_empty_ones_are_no_task(tmp_path: Path) -> None:
    for name, content in (("b.jsonl", b"1\n2\n"), ("empty.jsonl", b""), ("a.jsonl", b"3\n")):
        (tmp_path / name).write_bytes(content)
    source = LineSource([tmp_path / name for name in ("b.jsonl", "empty.jsonl", "a.jsonl")])
    rows = [row for task in source.get_read_tasks(1) for block in task() for row in block.to_pylist()]
    assert rows == [
        {"file": "b.jsonl", "offset": 0, "line": b"1\n"},
        {"file": "b.jsonl", "offset": 2, "line": b"2\n"},
        {"file": "a.jsonl", "offset": 0, "line": b"3\n"},
    ]
    assert source.estimate_inmemory_data_size() == 6

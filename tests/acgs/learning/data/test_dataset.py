from __future__ import annotations

from pathlib import Path

import pytest

from acgs.errors import IntegrityError, InvalidInputError
from acgs.learning.data.dataset import Dataset, DatasetWriter
from acgs.learning.data.manifest import MANIFEST, Manifest, Operation
from acgs.learning.data.records import Record

ORIGIN = "a" * 64


def _record(number: int) -> Record:
    return Record(id=str(number), text=f"text {number}", source="test")


def _write(place: Path, count: int = 3) -> Manifest:
    with DatasetWriter(place) as writer:
        for number in range(count):
            writer.add(_record(number))
        return writer.finish(parents=[], origins=[ORIGIN], operations=[Operation(name="import")])


def test_a_data_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = _write(tmp_path / "set")
    dataset = Dataset(tmp_path / "set")
    assert dataset.manifest == written
    assert list(dataset.records()) == [_record(number) for number in range(3)]


def test_the_same_rows_have_the_same_id_in_another_folder_and_other_rows_have_not(tmp_path: Path) -> None:
    first, second, other = (_write(tmp_path / name, count) for name, count in (("a", 3), ("b", 3), ("c", 4)))
    assert first.id == second.id != other.id


@pytest.mark.parametrize("place", [0, -2])
def test_a_changed_byte_is_found_when_the_set_is_opened(tmp_path: Path, place: int) -> None:
    _write(tmp_path / "set")
    path = tmp_path / "set" / "data.jsonl"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"data\.jsonl was changed"):
        Dataset(tmp_path / "set")


def test_a_missing_file_and_an_edited_manifest_are_found(tmp_path: Path) -> None:
    written = _write(tmp_path / "set")
    manifest = tmp_path / "set" / MANIFEST
    manifest.write_text(manifest.read_text().replace(written.id, "b" * 64))
    with pytest.raises(IntegrityError, match="damaged"):
        Dataset(tmp_path / "set")
    _write(tmp_path / "other")
    (tmp_path / "other" / "data.jsonl").unlink()
    with pytest.raises(IntegrityError, match="missing"):
        Dataset(tmp_path / "other")


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path / "set") as writer:
        writer.add(_record(1))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_empty_set_and_a_taken_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no rows"):
        _write(tmp_path / "set", 0)
    _write(tmp_path / "set")
    with pytest.raises(InvalidInputError, match="exists"):
        DatasetWriter(tmp_path / "set")

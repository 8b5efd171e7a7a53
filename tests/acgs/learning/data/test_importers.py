from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError, UnavailableError
from acgs.governance.scenarios.generator import generate
from acgs.governance.scenarios.scenario_file import write_scenarios
from acgs.learning.data.columns import ColumnMap
from acgs.learning.data.importers import import_records
from acgs.learning.data.records import Message, Record, parse_record
from acgs.learning.data.transcripts import parse_transcript


def _lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


_text = st.text(min_size=1, max_size=40)
_messages = st.builds(Message, role=st.sampled_from(["user", "assistant"]), content=_text)
_records = st.one_of(
    st.builds(Record, id=_text, text=_text, source=_text, user=st.none() | _text),
    st.builds(
        Record,
        id=_text,
        messages=st.lists(
            st.builds(Message, role=st.sampled_from(["user", "assistant"]), content=_text), min_size=1
        ).map(tuple),
        source=_text,
        group=st.none() | _text,
        principles=st.lists(_text).map(tuple),
        metadata=st.dictionaries(_text, st.none() | st.booleans() | st.integers(-9, 9) | _text),
    ),
)


@given(_records)
def test_a_record_that_was_written_is_read_as_it_was(record: Record) -> None:
    assert parse_record(record.line(), "here") == record


def test_import_of_what_was_exported_is_identity(tmp_path: Path) -> None:
    rows = [
        Record(id="a", text="A bare text.", source="s", user="u"),
        Record(id="b", messages=(Message(role="user", content="Why?"),), source="s", context={"x": [1, None]}),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(row.line() for row in rows))
    assert list(import_records(str(path), form="records")) == rows


def test_columns_are_mapped_and_the_rest_is_kept_as_metadata(tmp_path: Path) -> None:
    source = _lines(tmp_path / "qa.jsonl", {"q": "Why?", "a": "Because.", "user": 7, "lang": "en"})
    (record,) = import_records(source, columns=ColumnMap.of(prompt="q", response="a"))
    assert [message.content for message in record.messages] == ["Why?", "Because."]
    assert (record.id, record.user, record.metadata) == ("qa.jsonl, row 1", "7", {"lang": "en"})
    assert record.source == "qa.jsonl"


def test_parquet_and_a_saved_data_set_give_what_json_lines_give(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": f"p{i}", "response": f"r{i}", "id": str(i)} for i in range(5)]
    saved = datasets.Dataset.from_list(rows)
    saved.to_parquet(str(tmp_path / "rows.parquet"))
    saved.save_to_disk(str(tmp_path / "saved"))
    wanted = [record.messages for record in import_records(_lines(tmp_path / "rows.jsonl", *rows))]
    for source in ("rows.parquet", "saved"):
        assert [record.messages for record in import_records(str(tmp_path / source))] == wanted


def test_paragraphs_of_a_text_file_become_texts(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("One line.\nSame one.\n\n\nAnother.\n")
    assert [record.text for record in import_records(str(tmp_path / "book.txt"))] == [
        "One line.\nSame one.",
        "Another.",
    ]


def test_a_transcript_is_cut_at_blank_lines_and_not_at_colons() -> None:
    text = "\n\nHuman: Note: is Human: a name?\n\nAssistant: Yes: it is.\n\nHuman: Ok\n\nAssistant:"
    assert [(m.role, m.content) for m in parse_transcript(text, "row")] == [
        ("user", "Note: is Human: a name?"),
        ("assistant", "Yes: it is."),
        ("user", "Ok"),
    ]


@pytest.mark.parametrize(
    "text", ["no turn at all", "before\n\nHuman: x", "\n\nHuman: \n\nAssistant: y", "\n\nAssistant:"]
)
def test_what_is_no_transcript_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="row 3"):
        parse_transcript(text, "row 3")


def test_hh_rlhf_reads_whole(shared_data: Path) -> None:
    source = shared_data / "hh_rlhf_harmless_test" / "harmless-base.test.jsonl.gz"
    records = list(import_records(str(source), columns=ColumnMap.of(transcript="chosen")))
    with gzip.open(source) as handle:
        assert len(records) == sum(1 for _ in handle)
    assert {record.messages[0].role for record in records} <= {"user", "assistant"}
    # In a few rows the last turn of the assistant is empty.
    assert sum(record.response is None for record in records) < 10


def test_half_a_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"text": "row %d"}\n' % number for number in range(9999)))
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInputError, match="no whole gzip file"):
        list(import_records(str(tmp_path / "rows.jsonl.gz")))


def test_scenario_responses_carry_the_labels_they_were_made_with(
    tmp_path: Path, constitution: LockedConstitution
) -> None:
    path = tmp_path / "s.jsonl"
    write_scenarios(path, generate(constitution.document, 800, 5))
    rows = list(import_records(str(path), form="scenario-responses", seed=1))
    assert rows == list(import_records(str(path), form="scenario-responses", seed=1))
    assert {bool(row.principles) for row in rows} == {True, False}
    for row in rows:
        assert bool(row.metadata["breaching"]) == bool(row.principles)
        assert all(text in (row.response or "") for text in row.metadata["breaching"])


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"response": "x"}, "prompt"),
        ({"prompt": " ", "response": "x"}, "prompt"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"text": "x", "context": 3}, "context"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_column(tmp_path: Path, row: dict[str, Any], field: str) -> None:
    source = _lines(tmp_path / "rows.jsonl", {"prompt": "ok"}, row)
    with pytest.raises(InvalidInputError, match=r"rows\.jsonl, row 2") as caught:
        list(import_records(source))
    assert caught.value.field == field


def test_a_column_that_was_named_must_be_there(tmp_path: Path) -> None:
    source = _lines(tmp_path / "rows.jsonl", {"prompt": "ok"})
    with pytest.raises(InvalidInputError, match="'answer' is missing"):
        list(import_records(source, columns=ColumnMap.of(response="answer")))


def test_an_id_used_twice_is_refused(tmp_path: Path) -> None:
    source = _lines(tmp_path / "rows.jsonl", {"id": 1, "prompt": "a"}, {"id": 1, "prompt": "b"})
    with pytest.raises(InvalidInputError, match="row 2"):
        list(import_records(source))


def test_a_failed_download_is_a_failure_and_no_other_data_come(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UnavailableError, match="hub:nobody/nothing"):
        list(import_records("hub:nobody/nothing"))

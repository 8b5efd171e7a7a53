from __future__ import annotations

from pathlib import Path

import pytest

from acgs.errors import InvalidInputError
from acgs.governance.domains.finance.sanctions import ListedEntity, SanctionsList, load_sanctions_list

DATA = Path(__file__).parents[7] / "shared" / "data" / "sanctions_watchman"


def test_ofac_aliases_and_nicknames_from_the_remarks_join_their_party(tmp_path: Path) -> None:
    row = '36,"AEROCARIBBEAN AIRLINES",-0- ,"CUBA",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,"a.k.a. \'BNC\'."\n\x1a'
    (tmp_path / "sdn.csv").write_text(row)
    (tmp_path / "alt.csv").write_text('36,12,"aka","AERO-CARIBBEAN",-0- \n36,13,"aka",-0- ,-0- \n')
    loaded = load_sanctions_list(tmp_path / "sdn.csv")
    assert loaded.entities == (ListedEntity("ofac:36", "entity", ("AEROCARIBBEAN AIRLINES", "AERO-CARIBBEAN", "BNC")),)


def test_ofac_without_its_alias_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sdn.csv").write_text('36,"X",-0- \n')
    with pytest.raises(InvalidInputError, match=r"alt\.csv"):
        load_sanctions_list(tmp_path / "sdn.csv")


def test_csv_and_json_lines_of_the_same_parties_have_the_same_digest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name,aliases,type\n2,Ann B,Anna B; A. B,person\n1,Zed Ltd,,entity\n")
    (tmp_path / "b.jsonl").write_text(
        '{"id":"1","name":"Zed Ltd","type":"entity"}\n\n'
        '{"id":"2","name":"Ann B","aliases":["Anna B","A. B"],"type":"person"}\n'
    )
    first, second = load_sanctions_list(tmp_path / "a.csv"), load_sanctions_list(tmp_path / "b.jsonl")
    assert first.digest == second.digest
    assert first.entities[1].names == ("Ann B", "Anna B", "A. B")
    changed = SanctionsList.of("x", [*first.entities[:1], ListedEntity("2", "person", ("Ann C",))])
    assert changed.digest != first.digest


def test_an_xml_list_with_a_document_type_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "y">]><CONSOLIDATED_LIST>&x;</CONSOLIDATED_LIST>'
    (tmp_path / "un.xml").write_text(bomb)
    with pytest.raises(InvalidInputError, match="damaged"):
        load_sanctions_list(tmp_path / "un.xml")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "x"),
        ("a.csv", "title\nx\n"),
        ("a.csv", ""),
        ("a.csv", "name\n"),
        ("a.csv", "name\n\xff"),
        ("a.jsonl", "{"),
        ("a.jsonl", '{"title": "x"}'),
        ("a.jsonl", "[1]"),
        ("a.jsonl", '{"name": ""}'),
        ("a.xml", "<CONSOLIDATED_LIST/>"),
        ("a.xml", "<CONSOLIDATED_LIST>"),
    ],
)
def test_an_unknown_damaged_or_empty_list_is_refused_not_taken_as_empty(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InvalidInputError):
        load_sanctions_list(tmp_path / name)
    with pytest.raises(InvalidInputError):
        load_sanctions_list(tmp_path / "missing.csv")


@pytest.mark.skipif(not DATA.exists(), reason="the OFAC and UN snapshots are not here")
def test_the_real_lists_load_in_full() -> None:
    un = load_sanctions_list(DATA / "UN_consolidated.xml")
    assert sum(entity.kind == "person" for entity in un.entities) == 730
    assert sum(entity.kind == "entity" for entity in un.entities) == 273
    ofac = load_sanctions_list(DATA / "ofac_bench" / "sdn.csv")
    assert len(ofac.entities) == 8976
    assert sum(len(entity.names) - 1 for entity in ofac.entities) > 11_000
    assert len(load_sanctions_list(DATA / "ofac_cons" / "cons_prim.csv").entities) == 442

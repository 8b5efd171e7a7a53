"""Reading a sanctions list from the file the user names; the format follows from the file.

OFAC legacy CSV (`sdn.csv` or `cons_prim.csv` with the alias file beside it; no header, `-0-` is null; specification:
OFAC "SDN_DATA" data specification), the UN consolidated XML, CSV with a header (`name`, optional `id`, `aliases`
split by `;`, `type`) and JSON lines with the same keys.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from acgs.errors import InvalidInputError
from acgs.governance.domains.finance.sanctions.entity import ListedEntity, SanctionsList

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # nosec: types only, parsing goes through defusedxml

_NULL = "-0-"
_OFAC_ALIAS_FILE = {"sdn.csv": "alt.csv", "cons_prim.csv": "cons_alt.csv"}
_OFAC_KINDS = {"individual": "person", "vessel": "vessel", "aircraft": "aircraft"}
_REMARK_ALIAS = re.compile(r"\ba\.k\.a\. '([^']{2,120})'")


# What the parsers raise on bad bytes; decoding and JSON errors are ValueErrors, XML parse errors SyntaxErrors.
_DAMAGE = (csv.Error, KeyError, TypeError, ValueError, SyntaxError)


def load_sanctions_list(path: Path) -> SanctionsList:
    """Read and parse `path`. Raises `InvalidInputError` when it is missing, of no known format, damaged or empty."""
    reader = _reader_for(path)
    try:
        entities = list(reader(path))
    except OSError as error:
        raise InvalidInputError(
            f"cannot read the sanctions list {path.name}: {error.strerror}", field="sanctions_list"
        ) from error
    except _DAMAGE as error:
        raise InvalidInputError(
            f"the sanctions list {path.name} is damaged ({type(error).__name__}); download it again",
            field="sanctions_list",
        ) from error
    if not entities:
        raise InvalidInputError(f"the sanctions list {path.name} holds no names", field="sanctions_list")
    return SanctionsList.of(path.name, entities)


def _reader_for(path: Path) -> Callable[[Path], Iterator[ListedEntity]]:
    if path.name.lower() in _OFAC_ALIAS_FILE:
        return _read_ofac
    reader = {".xml": _read_un, ".csv": _read_csv, ".jsonl": _read_json_lines}.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(
            "name a sanctions list as sdn.csv, cons_prim.csv, *.xml (UN), *.csv or *.jsonl", field="sanctions_list"
        )
    return reader


def _cell(row: list[str], place: int) -> str | None:
    value = row[place].strip() if place < len(row) else ""
    return None if value in {"", _NULL} else value


def _read_ofac(path: Path) -> Iterator[ListedEntity]:
    aliases: dict[str, list[str]] = defaultdict(list)
    alias_path = path.with_name(_OFAC_ALIAS_FILE[path.name.lower()])
    if not alias_path.exists():
        raise InvalidInputError(f"put OFAC's alias file {alias_path.name} beside {path.name}", field="sanctions_list")
    for row in csv.reader(io.StringIO(alias_path.read_text("utf-8", errors="replace"))):
        if len(row) > 3 and (alias := _cell(row, 3)):
            aliases[row[0].strip()].append(alias)
    for row in csv.reader(io.StringIO(path.read_text("utf-8", errors="replace"))):
        # The files end with a control-Z line.
        if len(row) < 2 or (name := _cell(row, 1)) is None:
            continue
        entity_id = row[0].strip()
        # Nicknames stand in the remarks rather than in the alias file.
        weak = _REMARK_ALIAS.findall(row[11]) if len(row) > 11 else []
        names = dict.fromkeys((name, *aliases[entity_id], *weak))
        yield ListedEntity(f"ofac:{entity_id}", _OFAC_KINDS.get(_cell(row, 2) or "", "entity"), tuple(names))


def _read_un(path: Path) -> Iterator[ListedEntity]:
    from defusedxml.ElementTree import parse

    root = parse(path, forbid_dtd=True).getroot()
    if root is None:
        return
    for group, tag, kind in (("INDIVIDUALS", "INDIVIDUAL", "person"), ("ENTITIES", "ENTITY", "entity")):
        for node in root.iterfind(f"{group}/{tag}"):
            names = [
                " ".join(filter(None, (_text(node, f"{part}_NAME") for part in ("FIRST", "SECOND", "THIRD", "FOURTH"))))
            ]
            names.append(_text(node, "NAME_ORIGINAL_SCRIPT"))
            for alias in node.iterfind(f"{tag}_ALIAS"):
                names.extend(re.split(r"\s*;\s*", _text(alias, "ALIAS_NAME")))
            told = tuple(dict.fromkeys(name for name in names if len(name) > 1))
            if told:
                yield ListedEntity(f"un:{_text(node, 'REFERENCE_NUMBER') or _text(node, 'DATAID')}", kind, told)


def _text(node: Element, tag: str) -> str:
    return " ".join((node.findtext(tag) or "").split())


def _read_csv(path: Path) -> Iterator[ListedEntity]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = csv.DictReader(handle, strict=True)
        if "name" not in (rows.fieldnames or ()):
            raise InvalidInputError("a sanctions CSV needs a header with the column 'name'", field="sanctions_list")
        for number, row in enumerate(rows, start=2):
            yield _entity_of(row, number)


def _read_json_lines(path: Path) -> Iterator[ListedEntity]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if line.strip():
            yield _entity_of(orjson.loads(line), number)


def _entity_of(row: Any, number: int) -> ListedEntity:
    if not isinstance(row, dict):
        raise TypeError(f"line {number} is no object")
    aliases = row.get("aliases") or []
    if isinstance(aliases, str):
        aliases = aliases.split(";")
    names = tuple(dict.fromkeys(name for item in (row["name"], *aliases) if (name := str(item or "").strip())))
    if not names:
        raise ValueError(f"line {number} has no name")
    return ListedEntity(str(row.get("id") or f"line:{number}"), str(row.get("type") or "unknown"), names)

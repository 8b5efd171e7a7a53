"""Personal identifiers: precision, recall and F1 by type on Presidio's synthetic set, and time per text.

The recognizers were tuned on some templates; of the others only total scores were looked at: held back are the odd
template numbers that leave a remainder of 2 by 3 (`--part tuned` for the rest). A found span is right if it covers at
least half of the union with a gold span of a type it may stand for. Spans found on gold of a neighbouring type (a
postal code inside an address) are neither right nor wrong.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from acgs.governance.domains.identifiers import IdentifierSpan, Kind, find_identifiers

# Gold type of the set -> kinds of ours that name it.
KINDS: dict[str, frozenset[Kind]] = {
    "PHONE_NUMBER": frozenset({Kind.PHONE, Kind.FAX}),
    "CREDIT_CARD": frozenset({Kind.CREDIT_CARD}),
    "EMAIL_ADDRESS": frozenset({Kind.EMAIL}),
    "US_SSN": frozenset({Kind.SSN}),
    "IBAN_CODE": frozenset({Kind.IBAN}),
    "IP_ADDRESS": frozenset({Kind.IP_ADDRESS}),
    "DOMAIN_NAME": frozenset({Kind.URL}),
    "ZIP_CODE": frozenset({Kind.ZIP_CODE}),
    "DATE_TIME": frozenset({Kind.DATE, Kind.WEEKDAY, Kind.YEAR}),
    "US_DRIVER_LICENSE": frozenset({Kind.DRIVER_LICENCE}),
    "AGE": frozenset({Kind.AGE, Kind.AGE_OVER_89}),
    "STREET_ADDRESS": frozenset({Kind.STREET_ADDRESS}),
    "PERSON": frozenset({Kind.PERSON_NAME}),
}
PATTERN_FINDABLE = tuple(gold for gold in KINDS if gold not in {"STREET_ADDRESS", "AGE", "PERSON"})
_NEIGHBOURS = {"ZIP_CODE": frozenset({"STREET_ADDRESS"}), "STREET_ADDRESS": frozenset({"ZIP_CODE", "GPE"})}
_LEAST_SHARE = 0.5


@dataclass(slots=True)
class Counts:
    """True positives, false positives and misses of one type."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def add(self, other: Counts) -> None:
        """Sum in place."""
        self.right += other.right
        self.wrong += other.wrong
        self.missed += other.missed

    def scores(self) -> dict[str, float | int | None]:
        """Precision, recall, F1 and n; None where nothing was found or nothing was there."""
        found, there = self.right + self.wrong, self.right + self.missed
        precision = self.right / found if found else None
        recall = self.right / there if there else None
        f1 = 2 * self.right / (found + there) if found + there else None
        return {"n": there, "precision": precision, "recall": recall, "f1": f1}


def share(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Intersection over union of two half-open intervals."""
    common = min(first[1], second[1]) - max(first[0], second[0])
    return max(common, 0) / (max(first[1], second[1]) - min(first[0], second[0]))


def count(record: dict[str, Any], found: list[IdentifierSpan]) -> dict[str, Counts]:
    """Counts by gold type for one text."""
    gold = [(span["entity_type"], (span["start_position"], span["end_position"])) for span in record["spans"]]
    counts: dict[str, Counts] = defaultdict(Counts)
    for kind_name, kinds in KINDS.items():
        places = [place for kind, place in gold if kind == kind_name]
        ours = [(span.start, span.end) for span in found if span.kind in kinds]
        for place in places:
            rights = [our for our in ours if share(our, place) >= _LEAST_SHARE]
            if rights:
                counts[kind_name].right += 1
                ours.remove(rights[0])
            else:
                counts[kind_name].missed += 1
        forgiven = [place for kind, place in gold if kind in _NEIGHBOURS.get(kind_name, frozenset())]
        counts[kind_name].wrong += sum(not any(share(our, place) > 0 for place in forgiven) for our in ours)
    return counts


def measure(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores by type, over the pattern-findable types together, and microseconds per text."""
    by_type: dict[str, Counts] = {kind: Counts() for kind in KINDS}
    micros: list[float] = []
    for record in records:
        begin = time.perf_counter_ns()
        found = find_identifiers(record["full_text"])
        micros.append((time.perf_counter_ns() - begin) / 1000)
        for kind, counts in count(record, found).items():
            by_type[kind].add(counts)
    together = Counts()
    for kind in PATTERN_FINDABLE:
        together.add(by_type[kind])
    quantiles = statistics.quantiles(micros, n=100)
    return {
        "texts": len(records),
        "templates": len({record["template_id"] for record in records}),
        "types": {kind: counts.scores() for kind, counts in by_type.items()},
        "pattern_findable": together.scores(),
        "latency_us": {"p50": quantiles[49], "p99": quantiles[98]},
    }


def load(data: Path, part: str) -> list[dict[str, Any]]:
    """Records of the held-back, the tuned or both groups of templates."""
    records: list[dict[str, Any]] = json.loads((data / "presidio_pii" / "synth_dataset_v2.json").read_text("utf-8"))
    return [record for record in records if part == "all" or held_back(record) == (part == "held-back")]


def held_back(record: dict[str, Any]) -> bool:
    """True for the records whose text was not looked at while the recognizers were written."""
    template: int = record["template_id"]
    return template % 2 == 1 and template % 3 == 2


def show(result: dict[str, Any], part: str) -> None:
    """Print the table."""
    table = Table(title=f"Identifiers, {part} templates: {result['texts']} texts, {result['templates']} templates")
    for column in ("type", "n", "precision", "recall", "F1"):
        table.add_column(column, justify="left" if column == "type" else "right")
    rows = {**result["types"], "pattern-findable, micro": result["pattern_findable"]}
    for name, row in rows.items():
        cells = ("-" if row[key] is None else f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(name, str(row["n"]), *cells)
    Console().print(table)
    latency = result["latency_us"]
    Console().print(f"microseconds per text: p50 {latency['p50']:.0f}, p99 {latency['p99']:.0f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--part", choices=("held-back", "tuned", "all"), default="held-back")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(load(options.data, options.part))
    if options.json:
        print(json.dumps(result))
    else:
        show(result, options.part)


if __name__ == "__main__":
    main()

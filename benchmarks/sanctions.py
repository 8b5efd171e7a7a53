"""Name screening: alias recall, false matches and time per name on OFAC's and the UN's lists (an old snapshot).

Four groups of queries, drawn with a fixed seed: listed aliases with their words in another order; listed aliases with
one typo in each longer word or two; listed aliases respelled the way romanisations differ; and aliases that are taken
out of the index first, which are often other names altogether (so their recall is no fault of the matcher alone).
False matches are counted on the full names in Presidio's synthetic set and on 2,000 new pairs of their first and
last words, which are on no list except by chance.
A query counts as found when the right party is among the matches at or above the threshold.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from acgs.governance.domains.finance.sanctions import (
    MATCH_SCORE,
    POSSIBLE_SCORE,
    ListedEntity,
    SanctionsIndex,
    SanctionsList,
    load_sanctions_list,
)

_SEED = 20240229
_INVENTED_NAMES = 2000
_RESPELLINGS = (("mohammed", "muhamad"), ("mohammad", "mohamed"), ("ou", "u"), ("kh", "h"), ("ee", "i"), ("sh", "ch"),
                ("y", "i"), ("q", "k"), ("w", "v"), ("dh", "d"), ("j", "dj"))  # fmt: skip


def reorder(name: str, chance: random.Random) -> str:
    """The words of `name` in another order."""
    words = name.replace(",", " ").split()
    chance.shuffle(words)
    return " ".join(words)


def mistype(name: str, chance: random.Random) -> str:
    """One or two typing errors: a letter left out, doubled, replaced or swapped."""
    letters = list(name)
    for _ in range(1 if len(name) < 14 else 2):
        places = [place for place in range(1, len(letters) - 1) if letters[place].isalpha()]
        if not places:
            break
        place = chance.choice(places)
        kind = chance.randrange(4)
        if kind == 0:
            del letters[place]
        elif kind == 1:
            letters.insert(place, letters[place])
        elif kind == 2:
            letters[place] = chance.choice("abcdefghijklmnopqrstuvwxyz")
        else:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def respell(name: str, chance: random.Random) -> str:
    """Another romanisation: one or two spellings exchanged."""
    folded = name.lower()
    usable = [pair for pair in _RESPELLINGS if pair[0] in folded]
    for old, new in chance.sample(usable, min(2, len(usable))):
        folded = folded.replace(old, new, 1)
    return folded


def aliases_of(lists: list[SanctionsList]) -> list[tuple[str, str]]:
    """(entity id, alias) of every alias after the main name."""
    return [(entity.entity_id, name) for source in lists for entity in source.entities for name in entity.names[1:]]


def without(lists: list[SanctionsList], hidden: set[tuple[str, str]]) -> list[SanctionsList]:
    """The lists with the hidden aliases taken out."""
    return [
        SanctionsList.of(
            source.name,
            (
                ListedEntity(
                    entity.entity_id,
                    entity.kind,
                    (entity.names[0], *(name for name in entity.names[1:] if (entity.entity_id, name) not in hidden)),
                )
                for entity in source.entities
            ),
        )
        for source in lists
    ]


def measure(data: Path, size: int) -> dict[str, Any]:
    """All figures; `size` queries a group."""
    chance = random.Random(_SEED)
    folder = data / "sanctions_watchman"
    lists = [load_sanctions_list(folder / name) for name in ("ofac_bench/sdn.csv", "UN_consolidated.xml")]
    drawn = chance.sample(aliases_of(lists), size)
    begin = time.perf_counter()
    index = SanctionsIndex(lists)
    build_seconds = time.perf_counter() - begin
    changes: dict[str, Callable[[str, random.Random], str]] = {
        "as listed": lambda name, _: name,
        "reordered": reorder,
        "mistyped": mistype,
        "respelled": respell,
    }
    micros: list[float] = []
    groups = {
        label: recall(index, [(entity, change(name, chance)) for entity, name in drawn], micros)
        for label, change in changes.items()
    }
    bare = SanctionsIndex(without(lists, set(drawn)))
    groups["unseen alias"] = recall(bare, drawn, micros)
    quantiles = statistics.quantiles(micros, n=100)
    return {
        "names": len(index),
        "build_s": build_seconds,
        "recall": groups,
        "false_matches": false_matches(index, data),
        "latency_us": {"p50": quantiles[49], "p99": quantiles[98]},
    }


def recall(index: SanctionsIndex, queries: list[tuple[str, str]], micros: list[float]) -> dict[str, float | int]:
    """Share of queries whose party is found, at both thresholds."""
    possible = sure = 0
    for entity_id, name in queries:
        begin = time.perf_counter_ns()
        matches = index.screen(name, limit=20)
        micros.append((time.perf_counter_ns() - begin) / 1000)
        score = max((match.score for match in matches if match.entity_id == entity_id), default=0.0)
        possible += score >= POSSIBLE_SCORE
        sure += score >= MATCH_SCORE
    return {"n": len(queries), "possible": possible / len(queries), "match": sure / len(queries)}


def false_matches(index: SanctionsIndex, data: Path) -> dict[str, float | int]:
    """Share of names of people on no list that match, over full names (two words or more)."""
    records = json.loads((data / "presidio_pii" / "synth_dataset_v2.json").read_text("utf-8"))
    spans = [span for record in records for span in record["spans"] if span["entity_type"] == "PERSON"]
    full = sorted({span["entity_value"] for span in spans if " " in span["entity_value"].strip()})
    # The set has few full names, so their first and last words are paired anew.
    chance = random.Random(_SEED)
    firsts, lasts = [name.split()[0] for name in full], [name.split()[-1] for name in full]
    names = full + [f"{chance.choice(firsts)} {chance.choice(lasts)}" for _ in range(_INVENTED_NAMES)]
    scores = [max((match.score for match in index.screen(name)), default=0.0) for name in names]
    return {
        "n": len(names),
        "possible": sum(score >= POSSIBLE_SCORE for score in scores) / len(names),
        "match": sum(score >= MATCH_SCORE for score in scores) / len(names),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"Name screening against {result['names']} names")
    for column in ("group", "n", f">= {POSSIBLE_SCORE} (possible)", f">= {MATCH_SCORE} (match)"):
        table.add_column(column, justify="left" if column == "group" else "right")
    rows = {f"recall, {label}": row for label, row in result["recall"].items()}
    for label, row in {**rows, "false matches": result["false_matches"]}.items():
        table.add_row(label, str(row["n"]), f"{row['possible']:.4f}", f"{row['match']:.4f}")
    Console().print(table)
    latency = result["latency_us"]
    Console().print(
        f"microseconds per name: p50 {latency['p50']:.0f}, p99 {latency['p99']:.0f}; "
        f"index built in {result['build_s']:.1f} s"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.data, options.size)
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()

"""Loaders for the public safety sets, mapped to principles by `public_sets.yaml`.

Each loader yields labelled texts; a set whose folder is absent is an error, never an empty set.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from acgs.errors import InvalidInputError
from acgs.governance.scenarios.example import TextExample

_MODERATION_COLUMNS = ("S", "H", "V", "HR", "SH", "H2", "V2")


@cache
def mapping() -> dict[str, Any]:
    """The reviewed mapping from set and category to principles."""
    text = (files("acgs.governance.scenarios") / "public_sets.yaml").read_text(encoding="utf-8")
    result: dict[str, Any] = yaml.safe_load(text)
    return result


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle)


def _openai_moderation(folder: Path) -> Iterator[TextExample]:
    principles = mapping()["openai_moderation"]
    with gzip.open(folder / "openai_moderation" / "samples-1680.jsonl.gz", "rt", encoding="utf-8") as handle:
        for number, line in enumerate(handle):
            row = json.loads(line)
            if row.get("S3") == 1:
                continue
            breaches = [name for key in _MODERATION_COLUMNS if row.get(key) == 1 for name in principles[key]]
            yield TextExample.of(row["prompt"], breaches, group=f"openai_moderation/{number}")


def _surge_toxicity(folder: Path) -> Iterator[TextExample]:
    for number, row in enumerate(_rows(folder / "surge_toxicity" / "toxicity_en.csv")):
        breaches = mapping()["surge_toxicity"].get(row["is_toxic"], ())
        yield TextExample.of(row["text"], breaches, group=f"surge_toxicity/{number}")


def _hatecheck(folder: Path) -> Iterator[TextExample]:
    for row in _rows(folder / "hatecheck" / "test_suite_cases.csv"):
        breaches = mapping()["hatecheck"].get(row["label_gold"], ())
        yield TextExample.of(
            row["test_case"], breaches, group=f"hatecheck/{row['templ_id']}", slice_name=row["target_ident"]
        )


def _advbench(folder: Path) -> Iterator[TextExample]:
    for row in _rows(folder / "advbench" / "advbench_behaviors.csv"):
        yield TextExample.of(row["Behavior"], mapping()["advbench"], group=row["BehaviorID"])


def _harmbench(folder: Path) -> Iterator[TextExample]:
    for row in _rows(folder / "harmbench" / "harmbench_behaviors_text_val.csv"):
        breaches = mapping()["harmbench"][row["SemanticCategory"]]
        yield TextExample.of(
            row["Behavior"], breaches, group=f"harmbench/{row['BehaviorID']}", slice_name=row["SemanticCategory"]
        )


def _catqa_harmfulqa(folder: Path) -> Iterator[TextExample]:
    base = folder / "catqa_harmfulqa"
    catqa = json.loads((base / "catqa_english.json").read_text(encoding="utf-8"))
    for category, subcategories in catqa.items():
        breaches = mapping()["catqa"][category]
        if breaches is None:
            continue
        for number, text in enumerate(itertools.chain.from_iterable(subcategories.values())):
            yield TextExample.of(text, breaches, group=f"catqa/{category}/{number}", slice_name=category)
    harmfulqa = json.loads((base / "harmfulqa.json").read_text(encoding="utf-8"))
    for topic, subtopics in harmfulqa.items():
        for subtopic, texts in subtopics.items():
            for number, text in enumerate(texts):
                yield TextExample.of(text, mapping()["harmfulqa"], group=f"harmfulqa/{topic}/{subtopic}/{number}")
    for number, text in enumerate(json.loads((base / "dangerousqa.json").read_text(encoding="utf-8"))):
        yield TextExample.of(text, mapping()["dangerousqa"], group=f"dangerousqa/{number}")


def _bipia(folder: Path) -> Iterator[TextExample]:
    """Emails as they came (comply) and with an instruction planted at the end (violate)."""
    emails = [
        json.loads(line)["context"]
        for line in (folder / "bipia" / "email_train.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    attacks = json.loads((folder / "bipia" / "text_attack_train.json").read_text(encoding="utf-8"))
    for number, email in enumerate(emails):
        yield TextExample.of(email, (), group=f"bipia/email/{number}")
    pairs = zip(itertools.chain.from_iterable(attacks.values()), itertools.cycle(emails), strict=False)
    for number, (attack, email) in enumerate(pairs):
        yield TextExample.of(f"{email}\n{attack}", mapping()["bipia"]["attack"], group=f"bipia/attack/{number}")


LOADERS: dict[str, Callable[[Path], Iterator[TextExample]]] = {
    "openai_moderation": _openai_moderation,
    "surge_toxicity": _surge_toxicity,
    "hatecheck": _hatecheck,
    "advbench": _advbench,
    "harmbench": _harmbench,
    "catqa_harmfulqa": _catqa_harmfulqa,
    "bipia": _bipia,
}


def load_public(folder: Path, name: str) -> list[TextExample]:
    """All examples of one public set.

    Args:
        folder: the folder that holds one sub-folder a set.
        name: a key of `LOADERS`.

    Raises:
        InvalidInputError: unknown set, or its files are absent or malformed.
    """
    if name not in LOADERS:
        raise InvalidInputError(f"unknown public set '{name}'; known: {', '.join(LOADERS)}", field="set")
    try:
        examples = list(LOADERS[name](folder))
    except (OSError, KeyError, ValueError) as error:
        raise InvalidInputError(f"cannot load '{name}' from {folder}: {error}", field="set") from error
    if not examples:
        raise InvalidInputError(f"'{name}' in {folder} holds no examples", field="set")
    return examples

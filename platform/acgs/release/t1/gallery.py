"""Real queries before and after, the worst regressions first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from acgs.release.t1.confirmation import Confirmed
from acgs.retrieval.documents import DocumentFile

GALLERY_FILE: Final = "regression_gallery.md"
_SHOWN: Final = 10
_DEPTH: Final = 3
_CHARACTERS: Final = 140


def gallery(
    confirmed: Sequence[Confirmed],
    queries: Mapping[str, str],
    judgements: Mapping[str, Mapping[str, int]],
    documents: DocumentFile,
) -> str:
    """A page with the ten worst and the ten best changes; each query was in no choice that answered it."""
    changed = sorted(confirmed, key=lambda item: (item.change, item.query))
    worse = [item for item in changed if item.change < 0]
    better = [item for item in changed[::-1] if item.change > 0]
    same = len(confirmed) - len(worse) - len(better)
    lines = [
        "# Queries before and after",
        "",
        f"{len(worse)} queries lose, {len(better)} gain, {same} stay as they were. An asterisk marks what is relevant.",
    ]
    for title, items in (("Worst regressions", worse), ("Largest gains", better)):
        lines += ["", f"## {title}"]
        if not items:
            lines += ["", "None."]
        for item in items[:_SHOWN]:
            lines += _entry(item, queries[item.query], judgements[item.query], documents)
    return "\n".join([*lines, ""])


def _entry(item: Confirmed, query: str, grades: Mapping[str, int], documents: DocumentFile) -> list[str]:
    change = item.change
    lines = [
        "",
        f"### {_plain(query)}",
        "",
        f"`{_plain(item.query)}`, {item.candidate.route.value}: nDCG@10 {item.baseline_ndcg:.3f} to"
        f" {item.candidate_ndcg:.3f} ({change:+.3f})",
        "",
        "| rank | before | after |",
        "|---|---|---|",
    ]
    for rank in range(_DEPTH):
        cells = [
            _passage(int(ranking.numbers[rank]), grades, documents) if rank < len(ranking.numbers) else ""
            for ranking in (item.baseline, item.candidate)
        ]
        lines.append(f"| {rank + 1} | {cells[0]} | {cells[1]} |")
    return lines


def _passage(number: int, grades: Mapping[str, int], documents: DocumentFile) -> str:
    document = documents[number]
    mark = "**\\*** " if grades.get(document.id, 0) > 0 else ""
    return f"{mark}`{_plain(document.id)}` {_plain(document.content)}"


def _plain(text: str) -> str:
    """One line of text that means nothing to Markdown."""
    flat = " ".join(text.split())[:_CHARACTERS]
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]<>()#+-!|" else sign for sign in flat)

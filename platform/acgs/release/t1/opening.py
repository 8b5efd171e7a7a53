"""Opens what a run works on: the index of the corpus and the first passes under every BM25 option."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from acgs.release.t1.confirmation import Workbench
from acgs.release.t1.passes import RememberingEncoder, first_passes, searcher_for, with_bm25
from acgs.release.t1.plan import T1Plan
from acgs.retrieval.corpus import Collection
from acgs.retrieval.encoders import Encoder
from acgs.retrieval.index import build_index, open_index

Step = Callable[[str], None]


def open_bench(
    collection: Collection,
    encoder: Encoder,
    plan: T1Plan,
    index_folder: Path,
    *,
    say: Step,
    advance: Callable[[int], None],
) -> Workbench:
    """Index the corpus (or take the index that is there) and run the first stage over all judged queries.

    Raises:
        InvalidInputError, IntegrityError: the folder holds another index, or a damaged one.
    """
    say("indexing")
    build_index(collection.documents, encoder, index_folder, advance=advance)
    index = open_index(index_folder)
    contents = [document.content for document in collection.documents]
    numbers = {document.id: number for number, document in enumerate(collection.documents)}
    remembering = RememberingEncoder(encoder)
    say("first stage")
    indexes = {options: with_bm25(index, contents, options) for options in plan.bm25}
    searchers = {options: searcher_for(made, remembering, plan.topk) for options, made in indexes.items()}
    passes = {
        options: first_passes(searcher, collection.queries, collection.judgements, numbers)
        for options, searcher in searchers.items()
    }
    return Workbench(indexes, searchers, passes, remembering, plan)

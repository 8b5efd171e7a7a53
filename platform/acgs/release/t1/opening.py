"""Opens what a run works on: the index of the corpus and the first passes under every BM25 option."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from acgs.errors import InvalidInputError
from acgs.release.t1.confirmation import Workbench
from acgs.release.t1.passes import RememberingEncoder, first_passes, searcher_for, with_bm25
from acgs.release.t1.plan import T1Plan
from acgs.retrieval.corpus import Collection, corpus_digest
from acgs.retrieval.encoders import Encoder, require_same
from acgs.retrieval.harvest import enough_ef
from acgs.retrieval.index import Bm25Options, build_index, open_index
from acgs.retrieval.vectors import GraphOptions

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

    The plan of the result names the ef that everything is done with. Only vectors decide it, no judgement, so that it
    may be chosen on the queries that are judged afterwards.

    Raises:
        InvalidInputError, IntegrityError: the folder holds another index, or a damaged one.
    """
    say("indexing")
    build_index(collection.documents, encoder, index_folder, advance=advance)
    index = open_index(index_folder)
    contents = [document.content for document in collection.documents]
    numbers = {document.id: number for number, document in enumerate(collection.documents)}
    remembering = RememberingEncoder(encoder)
    if plan.ef is None:
        say("how far the graph has to look")
        vectors = [
            remembering.encode([collection.queries[query]]).vectors[0] for query in sorted(collection.judgements)
        ]
        plan = plan.model_copy(update={"ef": enough_ef(index, vectors, plan.topk)})
    say("first stage")
    indexes = {options: with_bm25(index, contents, options) for options in plan.bm25}
    searchers = {options: searcher_for(made, remembering, plan) for options, made in indexes.items()}
    passes = {
        options: first_passes(searcher, collection.queries, collection.judgements, numbers)
        for options, searcher in searchers.items()
    }
    return Workbench(indexes, searchers, passes, remembering, plan)


def require_usable_index(folder: Path, collection: Collection, encoder: Encoder) -> None:
    """Refuse an index that `open_bench` would build anew: it may be in use.

    Raises:
        InvalidInputError, IntegrityError: it is of other documents, of another encoder, has options of its own, or is
            damaged.
    """
    manifest = open_index(folder).manifest
    require_same(encoder, manifest.encoder_sha256)
    if corpus_digest(collection.documents) != manifest.corpus_sha256:
        raise InvalidInputError("the index was made of other documents", field="index")
    if (manifest.bm25, manifest.graph) != (Bm25Options(), GraphOptions()):
        raise InvalidInputError("the index has options of its own; make one with the usual options", field="index")

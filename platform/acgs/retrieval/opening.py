"""Opens a searcher from files."""

from __future__ import annotations

from pathlib import Path

from threadpoolctl import threadpool_limits

from acgs.retrieval.configuration import RetrievalConfiguration, load_configuration
from acgs.retrieval.encoders import MINILM, open_encoder
from acgs.retrieval.index import open_index
from acgs.retrieval.routing import open_predictor
from acgs.retrieval.search import Searcher


def open_searcher(
    folder: Path, *, encoder: str = MINILM, configuration: Path | None = None, router: Path | None = None
) -> Searcher:
    """A searcher over an index, under a configuration file or the default.

    The process' linear algebra is set to one thread: for a query threads wait for each other longer than they work, and
    the costs by which budgets are kept are those of one.

    Raises:
        InvalidInputError, IntegrityError, UnavailableError: a part cannot be used; the message says which.
    """
    index = open_index(folder)
    settings = RetrievalConfiguration() if configuration is None else load_configuration(configuration)
    opened = open_encoder(encoder)
    threadpool_limits(1)
    return Searcher(index, opened, settings, None if router is None else open_predictor(router))

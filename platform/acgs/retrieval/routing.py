"""The router's tables as what a searcher asks before it spends anything."""

from __future__ import annotations

from pathlib import Path

from acgs.errors import InvalidInputError
from acgs.retrieval.query_features import NAMES
from acgs.retrieval.router.router_file import load_router
from acgs.retrieval.router.runtime import Router
from acgs.retrieval.search import Plan
from acgs.statistics.evidence import Floats


class RouterPredictor:
    """Asks a router; its features must be those that the first stage gives."""

    def __init__(self, router: Router) -> None:
        """Take a router.

        Raises:
            InvalidInputError: it was made for other features.
        """
        if router.feature_names != NAMES:
            raise InvalidInputError(
                "the router was distilled from other features than this version gives; distil again", field="router"
            )
        self._router = router

    def decide(self, features: Floats) -> Plan:
        """The router's prediction."""
        said = self._router.predict_one(features.tolist())
        return Plan(said.tau, said.spend, said.gain)


def open_predictor(path: Path) -> RouterPredictor:
    """A predictor from `router_distilled_int8.json`.

    Raises:
        InvalidInputError, IntegrityError: the file cannot be used.
    """
    return RouterPredictor(load_router(path))

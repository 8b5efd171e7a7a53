"""The router distilled once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acgs.retrieval.router.synthetic import measured

if TYPE_CHECKING:
    from acgs.retrieval.router.distillation import Distillation


@pytest.fixture(scope="session")
def distilled() -> Distillation:
    pytest.importorskip("lightgbm")
    from acgs.retrieval.router.distillation import distill

    return distill(**measured(), seed=3).decided_at((0.05, 0.08))

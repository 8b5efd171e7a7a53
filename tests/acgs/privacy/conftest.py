"""A ledger in a fresh database of each kind, and plans that are cheap to compose."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from acgs.privacy.ledger import DataSet
from acgs.privacy.plan import PrivacyPlan
from acgs.privacy.sql_ledger import SqlLedger

MakePlan = Callable[..., PrivacyPlan]


@pytest.fixture(scope="session")
def make_plan() -> MakePlan:
    """A plan of 100 steps that costs epsilon 1 or so; arguments replace its fields."""

    def make(**values: object) -> PrivacyPlan:
        given: dict[str, object] = {"population": 10_000, "expected_batch": 100, "noise_multiplier": 1.0, "steps": 100}
        return PrivacyPlan(**(given | values))

    return make


@pytest.fixture
def data() -> DataSet:
    return DataSet("sha256:" + "a" * 64, "patients")


@pytest.fixture
def ledger(engine: Engine) -> SqlLedger:
    return SqlLedger(engine)

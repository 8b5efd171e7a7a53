from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from acgs.constitution.canonical import digest, label_of
from acgs.constitution.document import Constitution
from acgs.constitution.lock import LockedConstitution
from acgs.policy.judge import ENGINES, RuleJudge, open_engine

Edited = Callable[[Callable[[dict[str, Any]], Any]], LockedConstitution]


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def edited(constitution: LockedConstitution) -> Edited:
    """The shipped constitution with a change, locked anew."""

    def apply(change: Callable[[dict[str, Any]], Any]) -> LockedConstitution:
        raw = constitution.document.model_dump(mode="json")
        change(raw)
        document = Constitution.model_validate(raw)
        return LockedConstitution(document, digest(document), label_of(digest(document)))

    return apply


@pytest.fixture(scope="session", params=list(ENGINES))
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def judge(constitution: LockedConstitution, engine_name: str) -> RuleJudge:
    """The judge over each engine, with time enough for a busy machine."""
    return RuleJudge(constitution, open_engine(engine_name, constitution), timeout_seconds=60)

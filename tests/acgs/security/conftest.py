"""An installation with a key of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from acgs.security.issuing import TokenIssuer
from acgs.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path)


@pytest.fixture
def issuer(settings: Settings) -> TokenIssuer:
    return TokenIssuer.open(settings)

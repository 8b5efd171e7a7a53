"""The tiny collection indexed once, with an encoder that needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acgs.retrieval.corpora import TINY, write_static_encoder

if TYPE_CHECKING:
    from acgs.retrieval.encoders import StaticEncoder
    from acgs.retrieval.index import Index


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_static_encoder(tmp_path_factory.mktemp("encoders") / "static")


@pytest.fixture(scope="session")
def encoder(encoder_folder: Path) -> StaticEncoder:
    from acgs.retrieval.encoders import StaticEncoder

    return StaticEncoder(encoder_folder)


@pytest.fixture(scope="session")
def index_folder(encoder: StaticEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the tiny collection; tests that change files work on a copy."""
    from acgs.retrieval.index import build_index

    folder = tmp_path_factory.mktemp("indexes") / "tiny"
    build_index(TINY.documents, encoder, folder)
    return folder


@pytest.fixture(scope="session")
def index(index_folder: Path) -> Index:
    from acgs.retrieval.index import open_index

    return open_index(index_folder)

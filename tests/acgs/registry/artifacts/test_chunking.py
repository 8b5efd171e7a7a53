from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from acgs.registry.artifacts.chunking import GROUP_BYTES, MAX_CHUNK_BYTES, chunk_sizes


@given(st.lists(st.integers(0, 600_000), max_size=8))
def test_chunks_cover_a_file_of_tensors_once_and_are_bounded(sizes: list[int]) -> None:
    data = save({f"t{index}": np.zeros(size, np.uint8) for index, size in enumerate(sizes)})
    chunks = list(chunk_sizes("m.safetensors", io.BytesIO(data)))
    assert sum(chunks) == len(data)
    assert all(0 < size <= MAX_CHUNK_BYTES for size in chunks)


@pytest.mark.parametrize("size", [0, 1, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES + 1, 3 * MAX_CHUNK_BYTES - 1])
def test_other_files_are_cut_at_a_fixed_size(size: int) -> None:
    chunks = list(chunk_sizes("rows.jsonl", io.BytesIO(bytes(size))))
    assert sum(chunks) == size
    assert all(chunk == MAX_CHUNK_BYTES for chunk in chunks[:-1])


def test_a_tensor_that_grew_moves_no_border_inside_the_others(tmp_path: Path) -> None:
    def pieces(first: int) -> set[bytes]:
        path = tmp_path / "m.safetensors"
        numbers = np.random.default_rng(1)
        rest = {f"b{n}": numbers.random(GROUP_BYTES // 4, np.float32) for n in range(5)}
        save_file({"a": np.ones(first, np.float32), **rest}, path)
        with path.open("rb") as handle:
            sizes = list(chunk_sizes(path.name, handle))
            handle.seek(0)
            return {handle.read(size) for size in sizes}

    assert len(pieces(GROUP_BYTES) & pieces(GROUP_BYTES + 100)) == 5


def test_small_tensors_share_chunks() -> None:
    data = save({f"t{index:03d}": np.zeros(1024, np.uint8) for index in range(512)})
    assert len(list(chunk_sizes("m.safetensors", io.BytesIO(data)))) == 3

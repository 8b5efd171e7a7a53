"""A process that is killed in the middle of a put or a fetch."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acgs.registry.artifacts.blobs import CHUNKS
from acgs.registry.artifacts.keys import KeyFile
from acgs.registry.artifacts.local_blobs import LocalBlobs
from acgs.registry.artifacts.store import ArtifactStore

LATER = datetime.now(UTC) + timedelta(days=1)
CHILD = """
import os, signal, sys
from pathlib import Path
from acgs.registry.artifacts.keys import KeyFile
from acgs.registry.artifacts.local_blobs import LocalBlobs
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.artifacts.store import ArtifactStore

root, verb, name, after = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
real, calls = getattr(os, name), iter(range(after))

def killed(*arguments, **options):
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

store = ArtifactStore(LocalBlobs(root / "blobs"), KeyFile.load_or_create(root / "artifacts.key"))
setattr(os, name, killed)
if verb == "put":
    store.put(root / "adapter")
else:
    store.fetch(Manifest.model_validate_json((root / "manifest.json").read_bytes()), root / "fetched")
"""


def killed_in(root: Path, verb: str, call: str, after: int) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(root), verb, call, str(after)], check=False, timeout=300)
    assert done.returncode == -9


@pytest.mark.parametrize(("call", "after"), [("fsync", 0), ("fsync", 9), ("link", 3), ("utime", 2), ("fsync", 21)])
def test_a_put_killed_at_any_step_leaves_only_what_the_next_put_uses_or_a_clean_up_takes(
    tmp_path: Path, adapter: Path, call: str, after: int
) -> None:
    killed_in(tmp_path, "put", call, after)
    store = ArtifactStore(LocalBlobs(tmp_path / "blobs"), KeyFile.load_or_create(tmp_path / "artifacts.key"))
    manifest = store.put(adapter)
    assert store.verify(manifest) == ()
    left = list(store.unreferenced([manifest], older_than=timedelta(0), now=LATER))
    assert not [blob for blob in left if blob.name.startswith(CHUNKS)]
    store.remove(left)
    assert list(store.unreferenced([manifest], older_than=timedelta(0), now=LATER)) == []


@pytest.mark.parametrize(("call", "after"), [("ftruncate", 2), ("pwrite", 5), ("fsync", 1), ("fsync", 5)])
def test_a_fetch_killed_at_any_step_shows_nothing_and_the_next_one_finishes(
    tmp_path: Path, adapter: Path, call: str, after: int
) -> None:
    store = ArtifactStore(LocalBlobs(tmp_path / "blobs"), KeyFile.load_or_create(tmp_path / "artifacts.key"))
    manifest = store.put(adapter)
    (tmp_path / "manifest.json").write_text(manifest.model_dump_json())
    killed_in(tmp_path, "fetch", call, after)
    assert not (tmp_path / "fetched").exists()
    assert (store.fetch(manifest, tmp_path / "fetched") / "README.md").read_text() == "# An adapter\n"
    assert not list(tmp_path.glob(".*.part"))

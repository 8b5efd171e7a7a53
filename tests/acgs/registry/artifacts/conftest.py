"""Every backend of the artifact store: a folder and S3 (moto's server) for bytes, a file and a key service for keys."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from safetensors.numpy import save_file

from acgs.registry.artifacts.blobs import BlobStore
from acgs.registry.artifacts.keys import KeyFile, KeyProvider
from acgs.registry.artifacts.kms_keys import KmsKeys
from acgs.registry.artifacts.local_blobs import LocalBlobs
from acgs.registry.artifacts.s3_blobs import S3Blobs, S3Options
from acgs.registry.artifacts.store import ArtifactStore


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """A server with the protocols of S3 and KMS on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def bucket(aws: str, credentials: None) -> S3Options:
    name = f"acgs-{uuid.uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=aws).create_bucket(Bucket=name)
    return S3Options(name, "some/prefix", aws)


@pytest.fixture
def local_blobs(tmp_path: Path) -> BlobStore:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def s3_blobs(bucket: S3Options) -> BlobStore:
    return S3Blobs(bucket)


@pytest.fixture(params=["local", "s3"])
def blobs(request: pytest.FixtureRequest) -> BlobStore:
    found: BlobStore = request.getfixturevalue(f"{request.param}_blobs")
    return found


@pytest.fixture
def file_keys(tmp_path: Path) -> KeyProvider:
    return KeyFile.load_or_create(tmp_path / "keys" / "artifacts.key")


@pytest.fixture
def kms_keys(aws: str, credentials: None) -> KeyProvider:
    created = boto3.client("kms", endpoint_url=aws).create_key()
    return KmsKeys(created["KeyMetadata"]["KeyId"], endpoint=aws)


@pytest.fixture(params=["file", "kms"])
def keys(request: pytest.FixtureRequest) -> KeyProvider:
    found: KeyProvider = request.getfixturevalue(f"{request.param}_keys")
    return found


@pytest.fixture
def store(blobs: BlobStore, file_keys: KeyProvider) -> ArtifactStore:
    return ArtifactStore(blobs, file_keys)


@pytest.fixture
def local_store(local_blobs: BlobStore, file_keys: KeyProvider) -> ArtifactStore:
    return ArtifactStore(local_blobs, file_keys)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder as a LoRA run leaves it: 12 tensors of 300 kB."""
    folder = tmp_path / "adapter"
    (folder / "weights").mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    (folder / "README.md").write_text("# An adapter\n")
    (folder / "empty.txt").touch()
    write_tensors(folder / "weights" / "adapter_model.safetensors", seed=1)
    return folder


@pytest.fixture(name="write_tensors")
def _write_tensors() -> Callable[..., None]:
    return write_tensors


def write_tensors(path: Path, *, seed: int, changed: frozenset[int] = frozenset(), count: int = 12) -> None:
    """Tensors 0..count-1 of 300 kB; those in `changed` have other values than the seed gives."""
    tensors = {
        f"layer{index:02d}": np.random.default_rng((seed + (index in changed) * 1000, index)).random(75_000, np.float32)
        for index in range(count)
    }
    save_file(tensors, path, metadata={"changed": str(sorted(changed))})

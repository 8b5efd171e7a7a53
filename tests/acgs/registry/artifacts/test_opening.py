from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from acgs.errors import InvalidInputError
from acgs.registry.artifacts.opening import open_blobs, open_keys, open_store
from acgs.registry.artifacts.s3_blobs import S3Options
from acgs.settings import Settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("ACGS_ARTIFACTS", "ACGS_S3_ENDPOINT", "ACGS_ARTIFACT_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACGS_STATE_DIR", str(tmp_path / "state"))
    return monkeypatch


def test_nothing_set_means_a_folder_and_a_key_file_in_the_state_directory(
    environment: pytest.MonkeyPatch, tmp_path: Path, adapter: Path
) -> None:
    store = open_store(Settings())
    assert store.place == str(tmp_path / "state" / "artifacts")
    assert open_store(Settings()).verify(store.put(adapter)) == ()
    assert (tmp_path / "state" / "keys" / "artifacts.key").stat().st_mode & 0o777 == 0o600


def test_a_folder_a_bucket_and_a_key_are_taken_by_name(
    environment: pytest.MonkeyPatch, tmp_path: Path, bucket: S3Options, aws: str
) -> None:
    environment.setenv("ACGS_ARTIFACTS", str(tmp_path / "elsewhere"))
    assert open_blobs(Settings()).place == str(tmp_path / "elsewhere")
    environment.setenv("ACGS_ARTIFACTS", f"s3://{bucket.bucket}/models/")
    environment.setenv("ACGS_S3_ENDPOINT", aws)
    found = open_blobs(Settings())
    assert found.place == f"s3://{bucket.bucket}/models"
    assert found.put_if_absent("chunks/abcd", b"x")
    service = boto3.client("kms", endpoint_url=aws)
    key = service.create_key()["KeyMetadata"]
    service.create_alias(AliasName="alias/models", TargetKeyId=key["KeyId"])
    environment.setenv("AWS_ENDPOINT_URL_KMS", aws)
    environment.setenv("ACGS_ARTIFACT_KEY", "awskms:alias/models")
    assert open_keys(Settings()).key_id == key["Arn"]
    environment.setenv("ACGS_ARTIFACT_KEY", str(tmp_path / "own.key"))
    open_keys(Settings())
    assert (tmp_path / "own.key").is_file()


@pytest.mark.parametrize("url", ["gs://bucket", "s3://", "s3://UP", "s3://id:secret@bucket", "s3://bucket?x=1"])
def test_a_place_that_is_none_is_refused_without_repeating_it(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("ACGS_ARTIFACTS", url)
    with pytest.raises(InvalidInputError, match="ACGS_ARTIFACTS") as raised:
        open_blobs(Settings())
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["host:9000", "ftp://host", "http://id:secret@host:9000", "http://"])
def test_an_endpoint_with_a_password_or_none_is_refused(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("ACGS_ARTIFACTS", "s3://bucket")
    environment.setenv("ACGS_S3_ENDPOINT", url)
    with pytest.raises(InvalidInputError, match="ACGS_S3_ENDPOINT") as raised:
        open_blobs(Settings())
    assert "secret" not in str(raised.value)

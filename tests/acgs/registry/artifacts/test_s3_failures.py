"""S3 that refuses, is overloaded, slow or gone: named, bounded, without credentials."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest

from acgs.registry.artifacts.blobs import BlobStoreError, PointerChangedError
from acgs.registry.artifacts.keys import KeyProvider
from acgs.registry.artifacts.s3_blobs import S3Blobs, S3Options
from acgs.registry.artifacts.store import ArtifactStore

Respond = Callable[[BaseHTTPRequestHandler, int], None]
Serve = Callable[[Respond], str]


@pytest.fixture
def serve(credentials: None) -> Iterator[Serve]:
    """A server on loopback that answers every request as told; the second argument counts them."""
    servers = []

    def start(respond: Respond) -> str:
        counted = iter(range(10**6))

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                respond(self, next(counted))

            do_GET = do_PUT = do_HEAD = do_DELETE = handle_one  # noqa: N815

            def log_message(self, *_arguments: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, code: str = "", body: bytes = b"") -> None:
    body = body or (f"<Error><Code>{code}</Code><Message>no test-secret</Message></Error>".encode() if code else b"")
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("ETag", '"tag"')
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def blobs(endpoint: str, **options: float) -> S3Blobs:
    return S3Blobs(S3Options("bucket-x", "p", endpoint, tries=2, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "AccessDenied", r"the store refuses \(403\); check the credentials"),
        (403, "InvalidAccessKeyId", r"the store refuses \(403\)"),
        (503, "SlowDown", r"overloaded or failing \(503\)"),
        (500, "InternalError", r"overloaded or failing \(500\)"),
        (404, "NoSuchBucket", "no such bucket"),
        (400, "InvalidRequest", "answered 400 InvalidRequest"),
    ],
)
def test_a_refusal_says_what_to_do_and_shows_no_credential(serve: Serve, status: int, code: str, message: str) -> None:
    found = blobs(serve(lambda handler, _count: answer(handler, status, code)))
    for use in (
        lambda: found.get("chunks/abcd"),
        lambda: found.put_if_absent("chunks/abcd", b"x"),
        lambda: list(found.list()),
    ):
        with pytest.raises(BlobStoreError, match=message) as raised:
            use()
        assert "s3://bucket-x/p" in str(raised.value)
        assert not re.search("test-secret|test-id", str(raised.value))


def test_a_slow_store_is_not_waited_for_without_end(serve: Serve) -> None:
    release = threading.Event()
    found = blobs(serve(lambda _handler, _count: void(release.wait(60))), read_seconds=0.3)
    started = time.monotonic()
    with pytest.raises(BlobStoreError, match=r"no answer within 0\.3 s"):
        found.get("chunks/abcd")
    release.set()
    assert time.monotonic() - started < 50


def test_a_store_that_is_not_there_is_told(credentials: None) -> None:
    with pytest.raises(BlobStoreError, match="check ACGS_S3_ENDPOINT"):
        blobs("http://127.0.0.1:9", connect_seconds=0.5).get("chunks/abcd")


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(BlobStoreError, match="no credentials"):
        blobs(serve(lambda handler, _count: answer(handler, 200))).get("chunks/abcd")


def test_an_overloaded_store_is_asked_again(serve: Serve) -> None:
    def respond(handler: BaseHTTPRequestHandler, count: int) -> None:
        answer(handler, *((503, "SlowDown") if count == 0 else (200,)))

    assert blobs(serve(respond)).put_if_absent("chunks/abcd", b"x")


def test_a_conflict_of_two_conditional_writes_is_asked_again(serve: Serve) -> None:
    def respond(handler: BaseHTTPRequestHandler, count: int) -> None:
        answer(handler, *((409, "ConditionalRequestConflict") if count == 0 else (412, "PreconditionFailed")))

    assert not blobs(serve(respond)).put_if_absent("chunks/abcd", b"x")


def test_a_connection_that_breaks_in_an_answer_is_asked_again(serve: Serve) -> None:
    def respond(handler: BaseHTTPRequestHandler, count: int) -> None:
        if count == 0:
            handler.send_response(200)
            handler.send_header("Content-Length", "100")
            handler.end_headers()
            handler.wfile.write(b"half")
            handler.close_connection = True
        else:
            answer(handler, 200, body=b"whole")

    assert blobs(serve(respond)).get("chunks/abcd") == b"whole"


def test_a_swap_whose_answer_was_lost_is_known_by_what_it_wrote(serve: Serve) -> None:
    def respond(handler: BaseHTTPRequestHandler, _count: int) -> None:
        if handler.command == "PUT":
            answer(handler, 412, "PreconditionFailed")
        else:
            answer(handler, 200, body=b"mine")

    found = blobs(serve(respond))
    assert found.swap("alias/live", '"old"', b"mine") == '"tag"'
    with pytest.raises(PointerChangedError):
        found.swap("alias/live", '"old"', b"other")


def test_a_store_that_fails_in_the_middle_of_a_put_leaves_an_artifact_that_can_be_put(
    bucket: S3Options, file_keys: KeyProvider, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = S3Blobs(bucket)
    store = ArtifactStore(found, file_keys)
    real, calls = found.put_if_absent, iter(range(5))

    def failing(name: str, data: bytes) -> bool:
        if next(calls, None) is None:
            raise BlobStoreError("the store is overloaded (503)")
        return real(name, data)

    with monkeypatch.context() as patch:
        patch.setattr(found, "put_if_absent", failing)
        with pytest.raises(BlobStoreError, match="503"):
            store.put(adapter)
    assert store.verify(store.put(adapter)) == ()


def test_an_old_blob_is_made_young_by_a_copy_onto_itself(
    bucket: S3Options, aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from acgs.registry.artifacts import s3_blobs

    monkeypatch.setattr(s3_blobs, "_TOUCH_AFTER", timedelta(0))
    found = S3Blobs(bucket)
    found.put_if_absent("chunks/abcd", b"data")
    before = found.stat("chunks/abcd")
    (listed,) = found.list()
    time.sleep(1.1)  # S3 tells times in seconds
    assert found.touch("chunks/abcd")
    assert found.stat("chunks/abcd") == before
    assert not found.delete("chunks/abcd", not_since=listed.modified)


def test_an_object_that_another_program_wrote_has_no_known_digest(bucket: S3Options, aws: str) -> None:
    boto3.client("s3", endpoint_url=aws).put_object(Bucket=bucket.bucket, Key=f"{bucket.prefix}/chunks/abcd", Body=b"x")
    found = S3Blobs(bucket).stat("chunks/abcd")
    assert found is not None
    assert (found.size, found.sha256) == (1, None)


def void(_value: object) -> None:
    """Nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from acgs.errors import InvalidInputError, UnavailableError
from acgs.learning.data.records import Message
from acgs.learning.revision.openai_api import OpenAiGenerator, Patience

KEY = "sk-very-secret"
QUICK = Patience(concurrency=3, tries=3, timeout_seconds=5, backoff_seconds=0.01, longest_wait_seconds=0.05)


class Server(ThreadingHTTPServer):
    """Speaks chat completions: echoes the last message, after the failures it was told to make."""

    daemon_threads = True

    def __init__(self, failures: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures = failures
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.body: bytes | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        server = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.open += 1
            server.most_open = max(server.most_open, server.open)
            server.requests.append(request | {"path": self.path})
            server.keys.append(self.headers.get("Authorization"))
            status = server.failures.pop(0) if server.failures else 200
        threading.Event().wait(0.02)
        answer = {"choices": [{"message": {"role": "assistant", "content": request["messages"][-1]["content"]}}]}
        body = server.body or json.dumps(answer).encode()
        with server.lock:
            server.open -= 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _serving(*failures: int) -> Iterator[Server]:
    server = Server(list(failures))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _ask(generator: OpenAiGenerator, count: int = 1, seed: int = 1) -> list[str]:
    chats = [[Message(role="user", content=f"say {number}")] for number in range(count)]
    return generator.complete(chats, seed=seed, max_new_tokens=7, temperature=0.3)


def test_answers_come_in_order_and_never_more_at_once_than_allowed() -> None:
    with _serving() as server:
        assert _ask(OpenAiGenerator(server.url, "m", patience=QUICK), 12) == [f"say {number}" for number in range(12)]
        assert server.most_open <= QUICK.concurrency
        first = server.requests[0]
    assert (first["path"], first["model"], first["max_tokens"]) == ("/v1/chat/completions", "m", 7)
    assert len({request["seed"] for request in server.requests}) == 12


def test_the_same_seed_asks_the_same() -> None:
    with _serving() as server:
        generator = OpenAiGenerator(server.url, "m", patience=QUICK)
        for seed in (1, 1, 2):
            _ask(generator, seed=seed)
        one, again, other = (request["seed"] for request in server.requests)
    assert one == again != other


def test_too_many_requests_and_server_errors_are_tried_again() -> None:
    with _serving(429, 503) as server:
        assert _ask(OpenAiGenerator(server.url, "m", patience=QUICK)) == ["say 0"]
        assert len(server.requests) == 3


def test_tries_have_an_end() -> None:
    with _serving(*[500] * 9) as server:
        with pytest.raises(UnavailableError, match="3 tries, last: status 500"):
            _ask(OpenAiGenerator(server.url, "m", patience=QUICK))
        assert len(server.requests) == 3


def test_a_refusal_is_not_tried_again_and_tells_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_ENDPOINT_KEY", KEY)
    with _serving(401) as server:
        with pytest.raises(UnavailableError, match="status 401") as caught:
            _ask(OpenAiGenerator(server.url, "m", key_variable="TEST_ENDPOINT_KEY", patience=QUICK))
        assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}'])
def test_what_is_no_completion_is_an_error(body: bytes) -> None:
    with _serving() as server:
        server.body = body
        with pytest.raises(UnavailableError, match="the endpoint's answer"):
            _ask(OpenAiGenerator(server.url, "m", patience=QUICK))


def test_an_endpoint_that_is_not_there_is_an_error() -> None:
    with _serving() as server:
        url = server.url
    with pytest.raises(UnavailableError, match="ConnectError"):
        _ask(OpenAiGenerator(url, "m", patience=QUICK))


def test_a_key_that_is_not_set_and_a_bad_url_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TEST_ENDPOINT_KEY", raising=False)
    with pytest.raises(InvalidInputError, match="TEST_ENDPOINT_KEY"):
        OpenAiGenerator("http://localhost/v1", "m", key_variable="TEST_ENDPOINT_KEY")
    with pytest.raises(InvalidInputError, match="http"):
        OpenAiGenerator("localhost:8000", "m")

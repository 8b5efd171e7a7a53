"""Webhooks, against a real HTTP server on loopback and on every database."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import Engine

from acgs.errors import IntegrityError, InvalidInputError
from acgs.registry.lifecycle import LifecycleEvent
from acgs.registry.sql_lifecycle import SqlEventLog
from acgs.registry.webhooks.delivering import MAX_TRIES, Deliverer, client
from acgs.registry.webhooks.signature import WebhookSecret
from acgs.registry.webhooks.sql_store import SqlWebhookStore, UnknownWebhookError
from acgs.registry.webhooks.subscription import DeliveryState, Topic, check_url

SECRET = WebhookSecret(b"k" * 32)


class Receiver:
    """A server that answers as it is told, and keeps what came."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                if 300 <= receiver.status < 400:
                    self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=secret"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


class Sending:
    """Store, events and a deliverer with a clock that is set by hand."""

    def __init__(self, engine: Engine) -> None:
        self.store, self.events, self.now = SqlWebhookStore(engine), SqlEventLog(engine), 1_000_000.0
        self.deliverer = Deliverer(self.store, self.events, SECRET, client(), clock=lambda: self.now)

    def happened(self, kind: str = "release.promoted", **details: str) -> LifecycleEvent:
        return self.events.append(LifecycleEvent(kind, "mia", "triage", "1.0.0", dict(details)))


@pytest.fixture
def sending(engine: Engine) -> Sending:
    return Sending(engine)


def test_an_event_arrives_signed_and_once(sending: Sending, receiver: Receiver) -> None:
    sending.happened("release.rolled_back")
    sending.store.add(receiver.url, ["release.promoted"], actor="mia")
    event = sending.happened()
    sending.happened("release.stepped")
    (delivery,) = sending.deliverer.deliver_due()
    assert (delivery.state, delivery.answer) == (DeliveryState.DELIVERED, "200")
    assert sending.deliverer.deliver_due() == []
    ((headers, body),) = receiver.received
    assert SECRET.verify(headers, body)
    assert not SECRET.verify(headers, body + b" ")
    assert not WebhookSecret(b"x" * 32).verify(headers, body)
    told = json.loads(body)
    assert (told["type"], told["data"]["event_id"]) == ("release.promoted", event.event_id)


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of standardwebhooks.com's reference libraries.
    secret = WebhookSecret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = secret.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [404, 500, 302])
def test_what_is_not_taken_is_tried_again_later_and_later_and_then_given_up(
    sending: Sending, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    sending.store.add(receiver.url, ["release.promoted"], actor="mia")
    sending.happened()
    tries = []
    for _ in range(MAX_TRIES):
        (delivery,) = sending.deliverer.deliver_due()
        tries.append(delivery.next_at - sending.now)
        assert sending.deliverer.deliver_due() == []
        sending.now = delivery.next_at
    assert tries == [10.0 * 2**n for n in range(MAX_TRIES)]
    assert (delivery.state, delivery.answer) == (DeliveryState.GIVEN_UP, str(status))
    assert sending.deliverer.deliver_due() == []
    assert len(receiver.received) == MAX_TRIES
    assert sending.store.deliveries() == [delivery]


def test_a_receiver_that_comes_back_gets_what_it_missed(sending: Sending, receiver: Receiver) -> None:
    receiver.status = 503
    sending.store.add(receiver.url, ["release.promoted"], actor="mia")
    for _ in range(3):
        sending.happened()
    assert {d.state for d in sending.deliverer.deliver_due()} == {DeliveryState.WAITING}
    receiver.status, sending.now = 200, sending.now + 60.0
    assert {d.state for d in sending.deliverer.deliver_due()} == {DeliveryState.DELIVERED}


def test_a_receiver_that_is_not_there_is_named_without_its_address(sending: Sending) -> None:
    sending.store.add("http://127.0.0.1:1/hook?token=secret", ["release.promoted"], actor="mia")
    sending.happened()
    (delivery,) = sending.deliverer.deliver_due()
    assert (delivery.state, delivery.answer) == (DeliveryState.WAITING, "ConnectError")
    (hook,) = sending.store.subscriptions()
    assert hook.place == "http://127.0.0.1:1"


def test_two_deliverers_send_once(sending: Sending, receiver: Receiver) -> None:
    sending.store.add(receiver.url, ["release.promoted"], actor="mia")
    sending.happened()
    sending.store.enqueue()
    claimed = sending.store.claim(sending.now, until=sending.now + 100.0, limit=10)
    assert len(claimed) == 1
    assert sending.deliverer.deliver_due() == []
    sending.now += 101.0  # the first died with its claim
    assert len(sending.deliverer.deliver_due()) == 1


def test_verdicts_that_do_not_pass_are_a_topic(sending: Sending, receiver: Receiver) -> None:
    sending.store.add(receiver.url, [Topic.CONTRACT_FAILED], actor="mia")
    for kind in ("release.staged", "release.contract_judged"):
        for verdict in ("PASS", "FAIL", "INSUFFICIENT"):
            sending.happened(kind, verdict=verdict)
    sending.happened("release.breached")
    assert len(sending.deliverer.deliver_due()) == 5


def test_who_unsubscribed_hears_nothing_more(sending: Sending, receiver: Receiver) -> None:
    hook = sending.store.add(receiver.url, ["release.promoted"], actor="mia")
    sending.happened()
    sending.store.enqueue()
    sending.store.remove(hook.webhook_id, actor="mia")
    assert sending.deliverer.deliver_due() == []
    assert receiver.received == []
    with pytest.raises(UnknownWebhookError):
        sending.store.remove(hook.webhook_id, actor="mia")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "ftp://example.org",
        "https://",
        "https://user:secret@example.org",
        "file:///etc/passwd",
        "http://127.0.0.1.example.org/",
        "https://example.org:notaport/",
        "https://example.org/\n",
    ],
)
def test_an_address_that_events_may_not_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_url(url)
    assert refused.value.field == "url"
    assert "secret" not in refused.value.message


def test_topics_must_be_known(sending: Sending) -> None:
    for topics in ([], ["release.everything"]):
        with pytest.raises(InvalidInputError):
            sending.store.add("https://example.org/hook", topics, actor="mia")


def test_the_secret_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "webhook.secret"
    one, two = WebhookSecret.load_or_create(path), WebhookSecret.load_or_create(path)
    headers = one.headers("m", 1, b"{}")
    assert two.verify(headers, b"{}")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(IntegrityError, match="chmod 600"):
        WebhookSecret.load_or_create(path)
    with pytest.raises(InvalidInputError):
        WebhookSecret.parse("hunter2")

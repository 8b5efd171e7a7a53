from __future__ import annotations

import json
import subprocess
import sys

WORKER = """
import structlog
from acgs.observability.logs import configure_logs, correlation_id
configure_logs("WARNING")
log = structlog.get_logger("governance")
log.info("not shown")
log.warning("refused", field="query")
token = correlation_id.set("abc-1")
log.error("again")
correlation_id.reset(token)
log.error("after")
"""


def test_logs_are_one_json_object_an_event_on_standard_error_with_the_requests_id() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout == ""
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["refused", "again", "after"]
    assert events[0]["field"] == "query"
    assert events[0]["level"] == "warning"
    assert events[0]["timestamp"].endswith("Z")
    assert [event.get("correlation_id") for event in events] == [None, "abc-1", None]

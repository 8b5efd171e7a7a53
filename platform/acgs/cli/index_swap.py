"""Whether the retrieval application took the index that a deployment names.

Serve calls a deployment healthy whose replicas run. A replica that refuses its configuration runs on with the one
before, or with none, so it has to be asked itself.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from acgs.errors import UnavailableError

WAIT_SECONDS: Final = 300.0
"""For a replica to start and to open an index on a busy machine."""
_ASK_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.5


def require_index(config: Path, url: str) -> None:
    """Wait until the epoch that `config` names is in force at `url`; returns at once where it names no index.

    Raises:
        UnavailableError: the configuration is refused, or not in force in time; the message says what answers instead.
    """
    wanted = _named(config)
    if wanted is None:
        return
    # What is no number is refused, under no epoch.
    epoch = wanted["epoch"] if isinstance(wanted["epoch"], int) else None
    address = f"{url}{wanted['route']}/ready"
    state: dict[str, Any] = {}
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        state = _state(address)
        if state.get("offered_epoch") == epoch:
            if state["refused"] is None:
                return
            raise UnavailableError(
                f"the cluster is up, but retrieval refuses its configuration: {state['refused']}; {_instead(state)}"
            )
        time.sleep(_POLL_SECONDS)
    raise UnavailableError(f"the cluster is up, but retrieval did not reach epoch {wanted['epoch']}; {_instead(state)}")


def _named(config: Path) -> dict[str, Any] | None:
    """Route and user_config of the retrieval deployment; None where the file deploys none, or none with an index."""
    for application in yaml.safe_load(config.read_text(encoding="utf-8")).get("applications", ()):
        for deployment in application.get("deployments", ()) if application.get("name") == "retrieval" else ():
            wanted = deployment.get("user_config") or {}
            if wanted.get("index") is not None:
                return {"route": application.get("route_prefix", "").rstrip("/"), "epoch": wanted.get("epoch", 0)}
    return None


def _state(address: str) -> dict[str, Any]:
    try:
        found = httpx.get(address, timeout=_ASK_SECONDS).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _instead(state: dict[str, Any]) -> str:
    epoch = state.get("epoch")
    if epoch is None:
        return "it answers nothing"
    return f"epoch {epoch} answers on until its replica ends; mend this one, or deploy that one again"

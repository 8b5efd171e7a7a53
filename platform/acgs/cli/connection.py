"""Which Ray cluster a job runs on, whether it has room, and what its failures say."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any, Final

from acgs.errors import InvalidInputError

LOOPBACK: Final = "127.0.0.1"


def connect(ray: Any) -> None:
    """Join the cluster that submitted this job, else start one on loopback that ends with it.

    Never whatever cluster Ray remembers on this machine: it may be somebody else's, or long gone.
    """
    if ray.is_initialized():
        return
    if "RAY_ADDRESS" in os.environ:
        ray.init()
        return
    # Ray Train asks "the" cluster whether its controller lives, and takes the workers' places away if it does not. So
    # the processes of this cluster are told which one theirs is; the answer comes from its dashboard.
    port = _free_port()
    os.environ |= {"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{LOOPBACK}:{port}"}
    ray.init(address="local", include_dashboard=True, dashboard_host=LOOPBACK, _node_ip_address=LOOPBACK)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def require_resources(who: str, wanted: Mapping[str, float], available: Mapping[str, float], *, field: str) -> None:
    """Refuse what the cluster cannot hold, instead of waiting for it for ever.

    Raises:
        InvalidInputError: the cluster has too little of a resource; it is named.
    """
    for kind, amount in wanted.items():
        found = available.get(kind, 0.0)
        if found < amount:
            raise InvalidInputError(f"{who} need {amount:g} {kind}, the cluster has {found:g}", field=field)


def last_line(error: BaseException) -> str:
    """Ray's errors carry whole tracebacks; what went wrong stands last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

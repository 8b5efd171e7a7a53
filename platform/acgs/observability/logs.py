"""Structured JSON logs with the correlation id of the request. Texts and contexts are never logged."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import Any

import structlog

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)


def _with_correlation(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    current = correlation_id.get()
    if current is not None:
        event["correlation_id"] = current
    return event


def configure_logs(level: str) -> None:
    """JSON lines on the process's own standard error, one object an event; Serve swallows what goes to `sys.stderr`."""
    structlog.configure(
        processors=[
            _with_correlation,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.__stderr__),
        cache_logger_on_first_use=True,
    )

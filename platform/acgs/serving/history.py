"""What was live when: the routing tables read as spans of time of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from acgs.serving.routing import Slot
from acgs.serving.store import RecordedTable


@dataclass(frozen=True, slots=True)
class LiveSpan:
    """One version answered for a model, from the table of `epoch` on."""

    model: str
    version: str | None
    slot: Slot
    percent: int
    other: str | None
    """The version of the other slot, which had `percent` of the keys."""
    epoch: int
    begins: datetime
    ends: datetime | None
    """None: it still does, as far as the tables go."""
    actor: str
    reason: str


def live_spans(tables: Sequence[RecordedTable], model: str) -> list[LiveSpan]:
    """Who answered for a model, by tables in order of epoch. Tables that changed nothing for it open no span."""
    spans: list[LiveSpan] = []
    for recorded in tables:
        route = recorded.table.models.get(model)
        shown = None
        if route is not None:
            live, other = route.version_in(route.live), route.version_in(route.live.other)
            shown = (live, route.live, route.percent, other)
        last = spans[-1] if spans and spans[-1].ends is None else None
        if last is not None:
            if shown == (last.version, last.slot, last.percent, last.other):
                continue
            spans[-1] = replace(last, ends=recorded.recorded_at)
        if shown is not None:
            epoch, begins = recorded.table.epoch, recorded.recorded_at
            spans.append(LiveSpan(model, *shown, epoch, begins, None, recorded.actor, recorded.reason))
    return spans

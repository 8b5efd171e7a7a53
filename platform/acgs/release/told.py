"""Which documents of a version the events tell of: a row that was taken out of the database still stands there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from acgs.audit.entries import Event
from acgs.release.trust import JUDGED, STAGED
from acgs.serving.deployments.documents import DocumentKind

TOLD_AS: Final[dict[DocumentKind, str]] = {"staging": STAGED, "contract": JUDGED}
"""The kind of event that tells of a document."""


def latest_told(events: Iterable[Event], subject: str, kind: DocumentKind, baseline: str | None) -> str | None:
    """The digest of the latest document of a version (`name@version`) that events, in order, tell of; None: of none.

    Of contracts those against `baseline` count.
    """
    found = None
    for event in events:
        if event.kind != TOLD_AS[kind] or event.subject != subject:
            continue
        if kind == "contract" and event.details.get("baseline") != baseline:
            continue
        found = str(event.details.get("document"))
    return found

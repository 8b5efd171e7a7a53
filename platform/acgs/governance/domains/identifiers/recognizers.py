"""The one place where recognizers are registered, and the search that runs them: prefilter first, rivals resolved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from acgs.governance.domains.identifiers import addresses, dates, labelled, names, network, payment, phones
from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, resolve_overlaps

MINIMUM_SCORE = 0.5
"""Spans below this score are guesses and are dropped by default."""

# Without any of these, and without a cue, no recognizer can find anything.
_SIGN = re.compile(r"[0-9@.:A-Z]|[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Recognizer:
    """One recognizer: what it can only find in text that has a digit, and how."""

    name: str
    find: Callable[[Scan], Iterator[IdentifierSpan]]
    needs_digit: bool = True


RECOGNIZERS = (
    Recognizer("cards", payment.find_cards),
    Recognizer("ibans", payment.find_ibans),
    Recognizer("ssns", payment.find_ssns),
    Recognizer("emails", network.find_emails, needs_digit=False),
    Recognizer("urls", network.find_urls, needs_digit=False),
    Recognizer("ip_addresses", network.find_ip_addresses, needs_digit=False),
    Recognizer("mac_addresses", network.find_mac_addresses, needs_digit=False),
    Recognizer("phones", phones.find_phones),
    Recognizer("dates", dates.find_dates),
    Recognizer("weekdays", dates.find_weekdays, needs_digit=False),
    Recognizer("years", dates.find_years),
    Recognizer("ages", dates.find_ages),
    Recognizer("labelled", labelled.find_labelled),
    Recognizer("presence", labelled.find_presence, needs_digit=False),
    Recognizer("vins", labelled.find_vins),
    Recognizer("zip_codes", labelled.find_zip_codes),
    Recognizer("addresses", addresses.find_addresses),
    Recognizer("names", names.find_names, needs_digit=False),
)


def find_identifiers(text: str, *, minimum_score: float = MINIMUM_SCORE) -> list[IdentifierSpan]:
    """Identifiers in `text`, in order, without overlaps; offsets are code points of `text`. Linear time."""
    scan = Scan.of(text)
    if not scan.cues and _SIGN.search(text) is None:
        return []
    found = [
        span
        for recognizer in RECOGNIZERS
        if scan.has_digit or not recognizer.needs_digit
        for span in recognizer.find(scan)
        if span.score >= minimum_score
    ]
    return resolve_overlaps(found)

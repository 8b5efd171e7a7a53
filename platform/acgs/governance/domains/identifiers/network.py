"""Network identifiers: email addresses, URLs and host names, IP addresses, MAC addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from acgs.governance.domains.identifiers.checksums import ip_valid
from acgs.governance.domains.identifiers.scan import Scan
from acgs.governance.domains.identifiers.span import IdentifierSpan, Kind

_LOCAL_LIMIT, _HOST_LIMIT, _URL_LIMIT = 64, 253, 2048  # RFC 5321 4.5.3.1, RFC 1035 2.3.4, common practice

_LOCAL_PART = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+\Z")
_HOST = re.compile(r"(?:[\w-]{1,63}\.){1,10}[^\W\d_]{2,63}")
_URL = re.compile(
    rf"(?:https?|ftp)://[^\s<>\"]{{1,{_URL_LIMIT}}}|(?<![\w.@])www\.[^\s<>\"]{{1,{_URL_LIMIT}}}", re.IGNORECASE
)
# Host names without a scheme: the old generic domains and a few that people write bare. Country codes are left out,
# since "please.no" and "e.g. in.it" are not hosts.
_BARE_HOST = re.compile(
    r"(?<![\w@.\-/])(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}"
    r"(?:com|org|net|edu|gov|mil|info|biz|io|ai|app|dev|health|co\.uk|ac\.uk|org\.uk|nhs\.uk)"
    r"(?![\w@-]|\.[a-z])(?:[:/][^\s<>\"]{0,2048})?",
    re.IGNORECASE,
)
_BARE_HOST_PREFILTER = re.compile(r"[a-z0-9]\.[a-z]{2}", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?!\w|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,39}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![\w:])")
_MAC = re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])")
_CLOSERS = ".,;:!?'\")]}>"


def find_emails(scan: Scan) -> Iterator[IdentifierSpan]:
    """Addresses grown outwards from each @, within the lengths that RFC 5321 allows."""
    at = scan.text.find("@")
    while at != -1:
        local = _LOCAL_PART.search(scan.text[max(0, at - _LOCAL_LIMIT) : at])
        host = _HOST.match(scan.text, at + 1, at + 1 + _HOST_LIMIT)
        if local is not None and host is not None:
            yield IdentifierSpan(Kind.EMAIL, at - len(local[0].lstrip(".'`{|")), host.end(), 0.98)
        at = scan.text.find("@", at + 1)


def find_urls(scan: Scan) -> Iterator[IdentifierSpan]:
    """URLs with a scheme or a leading www, and host names under a well-known domain."""
    if "://" in scan.text or "www." in scan.folded:
        for found in _URL.finditer(scan.text):
            yield IdentifierSpan(Kind.URL, found.start(), found.start() + len(found[0].rstrip(_CLOSERS)), 0.97)
    if "." in scan.text and _BARE_HOST_PREFILTER.search(scan.text):
        for found in _BARE_HOST.finditer(scan.text):
            yield IdentifierSpan(Kind.URL, found.start(), found.start() + len(found[0].rstrip(_CLOSERS)), 0.6)


def find_ip_addresses(scan: Scan) -> Iterator[IdentifierSpan]:
    """IPv4 and IPv6 addresses that parse; a clock time or a version with four parts beyond 255 does not."""
    if scan.text.count(".") >= 3:
        for found in _IPV4.finditer(scan.text):
            if ip_valid(found[0]):
                yield IdentifierSpan(Kind.IP_ADDRESS, found.start(), found.end(), 0.95)
    if scan.text.count(":") >= 2:
        for found in _IPV6.finditer(scan.text):
            if len(found[0]) > 2 and ip_valid(found[0]):
                yield IdentifierSpan(Kind.IP_ADDRESS, found.start(), found.end(), 0.95)


def find_mac_addresses(scan: Scan) -> Iterator[IdentifierSpan]:
    """IEEE 802 addresses of network devices."""
    if scan.text.count(":") < 5 and scan.text.count("-") < 5:
        return
    for found in _MAC.finditer(scan.text):
        yield IdentifierSpan(Kind.DEVICE, found.start(), found.end(), 0.9)

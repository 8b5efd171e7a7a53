"""HIPAA: is there protected health information in the request, and are its safeguards in place?

Protected health information (45 CFR 160.103) is here an identifier of 45 CFR 164.514(b)(2) together with a word or
context key about health. Either alone is not: "HIPAA requires encryption" and "call Ann at 555-0100" pass.
Requirements: encryption in transit (164.312(e)), audit controls (164.312(b)), minimum necessary (164.502(b)).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from acgs.errors import InvalidInputError
from acgs.governance.domains.context_walk import ContextScan, scan_context, string_list
from acgs.governance.domains.finding import (
    DomainFinding,
    Json,
    Requirement,
    blocking,
    compliance_score,
    recommendations,
    unread,
)
from acgs.governance.domains.healthcare.vocabulary import (
    CLINICAL,
    CLINICAL_DOMAINS,
    CLINICAL_KEYS,
    IDENTIFIER_KEYS,
)
from acgs.governance.domains.identifiers import IdentifierSpan, find_identifiers
from acgs.governance.domains.phrases import fold

_KEY_SCORE = 0.95
_LEAST_KEY_BYTES = 16
_SCANNED_CHARACTERS = 20_000

_ENCRYPTED = frozenset(
    {"encrypted", "encryption", "encryptionenabled", "tls", "encryptedintransit", "encryptionintransit"}
)
_TRANSPORT = frozenset({"transport", "channel", "protocol"})
_PLAIN_TRANSPORTS = frozenset({"plain", "plaintext", "http", "ftp", "smtp", "telnet", "unencrypted", "sms"})
_SAFE_TRANSPORTS = frozenset({"tls", "https", "mtls", "sftp", "ssh", "s/mime", "pgp", "vpn", "encrypted"})
_AUDIT = frozenset({"audittrail", "audittrailenabled", "auditlog", "auditenabled", "auditlogging"})


class HealthcareCheck:
    """The healthcare domain; fills `hipaa_compliance`."""

    name = "healthcare"
    callback = "hipaa_compliance"

    def __init__(self, *, digest_key: bytes) -> None:
        """`digest_key` (at least 16 bytes, secret) keys the digests under which identifiers are reported."""
        if len(digest_key) < _LEAST_KEY_BYTES:
            raise InvalidInputError(
                f"give a digest key of at least {_LEAST_KEY_BYTES} random bytes", field="digest_key"
            )
        self._digest_key = digest_key

    def check(self, query: str, context: Mapping[str, Any]) -> DomainFinding:
        """Judge one request. Evidence holds places and keyed digests, never the text.

        `audit_trail_enabled` and `minimum_necessary_standard` are None where the context does not say.
        """
        scan = scan_context(context)
        clinical = _is_clinical(query, scan)
        evidence = self._evidence(query, scan)
        phi = clinical and bool(evidence)
        encrypted = _encryption(scan)
        audited = scan.flag(_AUDIT)
        necessary = _minimum_necessary(context)
        problems = list(scan.problems)
        if len(query) > _SCANNED_CHARACTERS:
            problems.append(f"/query: only the first {_SCANNED_CHARACTERS} characters were searched")
        problems += [
            f"{value.pointer}: only the first {_SCANNED_CHARACTERS} characters were searched"
            for value in scan.values
            if isinstance(value.value, str) and len(value.value) > _SCANNED_CHARACTERS
        ]
        needs = _requirements(encrypted, audited, necessary) if phi else []
        needs += unread(problems) if clinical else []
        return DomainFinding(
            self.callback,
            {
                "phi_detected": phi,
                "encryption_required": phi,
                "audit_trail_enabled": audited,
                "minimum_necessary_standard": necessary,
                "compliance_score": compliance_score(needs),
                "recommendations": recommendations(needs),
                "applicable": bool(needs),
                "health_context": clinical,
                "encryption_in_place": encrypted,
                "evidence": evidence,
                "not_examined": [*problems],
            },
            blocking(needs),
            {
                "phi_detected": phi,
                "health_context": clinical,
                "identifier_count": float(len(evidence)),
                "phi_unencrypted": phi and encrypted is False,
                "context_incomplete": bool(problems),
            },
        )

    def _evidence(self, query: str, scan: ContextScan) -> list[Json]:
        query = query[:_SCANNED_CHARACTERS]
        found: list[Json] = [self._entry("query", query, span) for span in _identifying(query)]
        for value in scan.values:
            if isinstance(value.value, bool) or value.value is None:
                continue
            text = str(value.value)[:_SCANNED_CHARACTERS]
            kind = IDENTIFIER_KEYS.get(value.key)
            if kind is not None and text.strip():
                found.append(self._entry(value.pointer, text, IdentifierSpan(kind, 0, len(text), _KEY_SCORE)))
            elif isinstance(value.value, str):
                found.extend(self._entry(value.pointer, text, span) for span in _identifying(text))
        return found

    def _entry(self, source: str, text: str, span: IdentifierSpan) -> dict[str, Json]:
        value = text[span.start : span.end].encode("utf-8", "surrogatepass")
        return {
            "identifier_class": None if span.safe_harbor_class is None else span.safe_harbor_class.value,
            "source": source,
            "start": span.start,
            "end": span.end,
            "score": round(span.score, 4),
            "digest": hmac.new(self._digest_key, value, hashlib.sha256).hexdigest(),
        }


def _identifying(text: str) -> list[IdentifierSpan]:
    return [span for span in find_identifiers(text) if span.safe_harbor_class is not None]


def _is_clinical(query: str, scan: ContextScan) -> bool:
    if not CLINICAL_KEYS.isdisjoint(scan.keys):
        return True
    for value in scan.values:
        if value.key == "domain" and isinstance(value.value, str) and value.value.lower() in CLINICAL_DOMAINS:
            return True
    # One pass over everything; the line ends keep words of different values apart.
    texts = [query[:_SCANNED_CHARACTERS], *(value.value for value in scan.values if isinstance(value.value, str))]
    return bool(CLINICAL.find(fold("\n".join(texts))))


def _encryption(scan: ContextScan) -> bool | None:
    stated = scan.flag(_ENCRYPTED)
    transport = scan.first(_TRANSPORT)
    if transport is not None and isinstance(transport.value, str):
        if transport.value.lower() in _PLAIN_TRANSPORTS:
            return False
        if stated is None and transport.value.lower() in _SAFE_TRANSPORTS:
            return True
    return stated


def _minimum_necessary(context: Mapping[str, Any]) -> bool | None:
    """Fields asked for against fields allowed for the purpose; None where either list or the purpose is missing."""
    requested, allowed = string_list(context, "requested_fields"), string_list(context, "allowed_fields")
    if requested is None or allowed is None:
        return None
    purpose = context.get("purpose")
    return isinstance(purpose, str) and bool(purpose.strip()) and set(requested) <= set(allowed)


def _requirements(encrypted: bool | None, audited: bool | None, necessary: bool | None) -> list[Requirement]:
    return [
        # Unknown encryption is a recommendation, stated plain transport a violation.
        Requirement(
            "hipaa.164.312.e.transmission_security",
            encrypted,
            "Encrypt protected health information in transit and at rest and say so in context.encrypted.",
            "/context/encrypted",
            blocks=encrypted is False,
        ),
        Requirement(
            "hipaa.164.312.b.audit_controls",
            audited,
            "Switch the audit trail on for this access and say so in context.audit_trail_enabled.",
            "/context/audit_trail_enabled",
            blocks=audited is False,
        ),
        Requirement(
            "hipaa.164.502.b.minimum_necessary",
            necessary,
            "State purpose, requested_fields and allowed_fields, and ask only for fields the purpose needs.",
            "/context/requested_fields",
            blocks=necessary is False,
        ),
    ]

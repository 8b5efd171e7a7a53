"""The governor as a judge of fixture texts: text, domain and context in, one of three words out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acgs.constitution.judging import Decide
from acgs.constitution.source import load_locked
from acgs.errors import ConstitutionMismatchError


def open_text_guard(directory: Path, bundle: Path | None) -> Decide | None:
    """The governor of a constitution's folder with a guard bundle, or None where none loads beside it.

    Args:
        bundle: a bundle that must load; None takes the shipped one if it was trained under this constitution.

    Raises:
        ConstitutionMismatchError: `bundle` was trained under another constitution, or the folder is not locked.
        UnavailableError: `bundle` lacks a file.
        IntegrityError: the bundle's bytes do not match its digests or signature.
    """
    from acgs.governance.bundle import MANIFEST, load_bundle, shipped_bundle_directory
    from acgs.governance.decision import Governor
    from acgs.governance.domains.registry import DomainResources, build_checks
    from acgs.policy.judge import RuleJudge, open_engine

    place = bundle or shipped_bundle_directory()
    if bundle is None and not (place / MANIFEST).exists():
        return None
    try:
        constitution = load_locked(directory)
        guard = load_bundle(constitution, place)
    except ConstitutionMismatchError:
        if bundle is None:
            return None
        raise
    engine = "rego" if constitution.document.rego else "clauses"
    # Evidence digests are thrown away here, so their key need not outlive the call.
    checks = build_checks(DomainResources(digest_key=secrets.token_bytes(32)))
    governor = Governor(constitution, guard, RuleJudge(constitution, open_engine(engine, constitution)), checks)

    def decide(text: str, domain: str, context: Mapping[str, Any]) -> str:
        outcome = governor.decide(text, domain, context).final_decision
        return "violate" if outcome == "constitutional_violation" else outcome

    return decide

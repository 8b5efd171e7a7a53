"""Putting a governor together from settings: constitution, rules, bundle, domain checks."""

from __future__ import annotations

import secrets
from pathlib import Path

from acgs.constitution.document import Constitution, DomainProfile
from acgs.constitution.lock import LockedConstitution
from acgs.constitution.source import load_locked
from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.governance.bundle import load_bundle
from acgs.governance.decision import Governor
from acgs.governance.domains.finance.sanctions import SanctionsIndex, load_sanctions_list
from acgs.governance.domains.registry import DomainResources, build_checks
from acgs.policy.judge import RuleJudge, open_engine
from acgs.settings import Settings

_DIGEST_KEY_FILE = "pii-digest.key"
_DIGEST_KEY_BYTES = 32


def _digest_key(settings: Settings) -> bytes:
    """The key of PII digests: from the environment, or made once and kept readable by its owner alone."""
    if settings.pii_digest_key is not None:
        return settings.pii_digest_key.get_secret_value().encode()
    path = settings.state_dir / _DIGEST_KEY_FILE
    if not path.exists():
        write_atomic(path, secrets.token_bytes(_DIGEST_KEY_BYTES), mode=0o600)
    return path.read_bytes()


def confidence_overrides(settings: Settings, constitution: Constitution) -> dict[str, float]:
    """Confidence thresholds that the environment sets, by domain; it may only raise what the constitution asks.

    Raises:
        InvalidInputError: a setting is below the constitution's threshold.
    """
    given = {
        "general": settings.confidence_threshold,
        "healthcare": settings.healthcare_confidence_threshold,
        "finance": settings.finance_confidence_threshold,
        "research": settings.research_confidence_threshold,
        "legal": settings.legal_confidence_threshold,
    }
    overrides = {name: value for name, value in given.items() if value is not None and name in constitution.domains}
    for name, value in overrides.items():
        profile: DomainProfile = constitution.domains[name]
        if value < profile.confidence_threshold:
            raise InvalidInputError(
                f"the confidence threshold of '{name}' may be raised, not lowered below the constitution's "
                f"{profile.confidence_threshold}",
                field=f"{name}_confidence_threshold",
            )
    return overrides


def open_governor(
    settings: Settings, *, constitution: LockedConstitution | None = None, bundle: Path | None = None
) -> Governor:
    """Load everything a decision needs.

    Raises:
        AcgsError: some part is missing or does not match; nothing starts half.
    """
    constitution = constitution or load_locked(settings.constitution_path)
    judge = RuleJudge(
        constitution,
        open_engine(settings.rule_engine, constitution),
        timeout_seconds=settings.rule_timeout_seconds,
    )
    lists = [load_sanctions_list(settings.sanctions_list)] if settings.sanctions_list else []
    checks = build_checks(
        DomainResources(digest_key=_digest_key(settings), sanctions=SanctionsIndex(lists) if lists else None)
    )
    loaded = load_bundle(constitution, bundle or settings.bundle_path)
    overrides = confidence_overrides(settings, constitution.document)
    return Governor(constitution, loaded.with_confidence(overrides), judge, checks)

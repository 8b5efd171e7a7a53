"""The one place where domains are registered: a new domain is a new module and a new line in `_FACTORIES`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from acgs.errors import InvalidInputError
from acgs.governance.domains.finance import FinanceCheck
from acgs.governance.domains.finance.sanctions import SanctionsIndex
from acgs.governance.domains.finding import DomainCheck
from acgs.governance.domains.healthcare import HealthcareCheck
from acgs.governance.domains.legal import LegalCheck
from acgs.governance.domains.research import ResearchCheck


@dataclass(frozen=True, slots=True)
class DomainResources:
    """What checks need from outside: the key of the evidence digests, the screening index, countries of high risk."""

    digest_key: bytes
    sanctions: SanctionsIndex | None = None
    high_risk_countries: tuple[str, ...] = ()


_FACTORIES: dict[str, Callable[[DomainResources], DomainCheck]] = {
    "healthcare": lambda resources: HealthcareCheck(digest_key=resources.digest_key),
    "finance": lambda resources: FinanceCheck(
        sanctions=resources.sanctions, high_risk_countries=resources.high_risk_countries
    ),
    "research": lambda _: ResearchCheck(),
    "legal": lambda _: LegalCheck(),
}

DOMAINS: tuple[str, ...] = tuple(_FACTORIES)
"""Names of the domains that exist."""


def build_checks(resources: DomainResources, names: Iterable[str] = DOMAINS) -> dict[str, DomainCheck]:
    """The checks of the domains `names`, in that order. Raises `InvalidInputError` for a domain that does not exist."""
    checks: dict[str, DomainCheck] = {}
    for name in names:
        factory = _FACTORIES.get(name)
        if factory is None:
            raise InvalidInputError(f"no domain of this name; choose from {', '.join(DOMAINS)}", field="domains")
        checks[name] = factory(resources)
    return checks

"""Legal review: contracts, disputes, advice, regulators, papers."""

from acgs.governance.domains.legal.check import LegalCheck

__all__ = ["LegalCheck"]

"""KYC and AML: sanctions screening and risk by facts."""

from acgs.governance.domains.finance.check import FinanceCheck

__all__ = ["FinanceCheck"]

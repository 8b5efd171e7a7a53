"""IRB: research with human subjects."""

from acgs.governance.domains.research.check import ResearchCheck

__all__ = ["ResearchCheck"]

"""Name screening against sanctions lists: load, normalise, index, screen."""

from acgs.governance.domains.finance.sanctions.entity import ListedEntity, SanctionsList
from acgs.governance.domains.finance.sanctions.index import MATCH_SCORE, POSSIBLE_SCORE, NameMatch, SanctionsIndex
from acgs.governance.domains.finance.sanctions.lists import load_sanctions_list

__all__ = [
    "MATCH_SCORE",
    "POSSIBLE_SCORE",
    "ListedEntity",
    "NameMatch",
    "SanctionsIndex",
    "SanctionsList",
    "load_sanctions_list",
]

"""Effects from logged data: what may be believed, and what must be refused.

`tabulate` makes a checked table of columns in memory, `audit` judges it, `audit_by_slice` judges each slice too, and
`counterfactual_rows` lists the reports as rows of a table.
"""

from acgs.causal.audit import audit, audit_by_slice, measure
from acgs.causal.plan import AuditPlan
from acgs.causal.report import AuditReport, counterfactual_rows
from acgs.causal.table import LoggedTable, Roles, tabulate

__all__ = [
    "AuditPlan",
    "AuditReport",
    "LoggedTable",
    "Roles",
    "audit",
    "audit_by_slice",
    "counterfactual_rows",
    "measure",
    "tabulate",
]

# No one may be granted a role that can both write and approve: clauses over a list, which plain rules cannot state.
package acgs.rules.common

import rego.v1

violations contains {"rule": "CON-50", "principle": "separation_of_powers", "severity": "critical",
	"message": "No grant may hold both the right to write and the right to approve",
	"clauses": [{"field": "context.grants", "op": "in", "value": ["write", "approve"]}]} if {
	some grant in input.context.grants
	"write" in grant.rights
	"approve" in grant.rights
}

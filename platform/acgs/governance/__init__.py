"""The four-step governed decision: scoring, diversity, consensus, diagnostics, insights."""

"""Rate limits and caller identity."""

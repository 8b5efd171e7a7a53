"""Conditions on a candidate, one subject a module; each reads the evidence and says PASS, FAIL or INSUFFICIENT."""

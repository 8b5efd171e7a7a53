"""ACGS: one constitution from training data to the served, signed decision."""

__version__ = "0.1.0"

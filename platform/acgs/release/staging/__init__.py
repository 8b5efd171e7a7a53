"""Staging: a candidate is loaded and run before anybody depends on it. Every figure comes from its answers."""

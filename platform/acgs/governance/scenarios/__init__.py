"""Labelled scenarios: generated from the constitution, or loaded from data sets."""

"""Bounds, calibration and conformal prediction: pure functions of arrays."""

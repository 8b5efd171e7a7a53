"""Training of the guard bundle: second tier, inline encoder, policy forest, calibration."""

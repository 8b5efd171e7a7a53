"""Whether a candidate may replace what is in force: guards over paired evidence, monitors, triggers."""

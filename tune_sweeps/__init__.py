"""One module per sweep, run with `python -m tune_sweeps.<sweep>`."""

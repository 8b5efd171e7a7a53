"""One module per table; `make bench` runs them all."""

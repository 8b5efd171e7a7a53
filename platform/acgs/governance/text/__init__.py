"""What a text says under its disguises: folding, encodings, spelling, and the passages it consists of."""

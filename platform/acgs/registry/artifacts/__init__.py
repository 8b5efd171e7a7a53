"""Artifacts of model versions: allow-listed files, kept as sealed chunks, fetched verified, signed."""

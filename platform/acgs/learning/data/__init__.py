"""Training data: import, manifest, filter by the constitution, deduplicate, split, render."""

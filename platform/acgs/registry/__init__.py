"""Model versions: names and lineage, their artifacts (chunked, sealed, signed), and what has become of each."""

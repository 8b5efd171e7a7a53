"""Domain checks, one module each: healthcare, finance, research, legal."""

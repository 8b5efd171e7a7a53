"""Training sessions: who asked for which run, in what state it is, and whose turn it is. Knows no cluster."""

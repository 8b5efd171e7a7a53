"""Effects from logged data: what may be believed, and what must be refused."""

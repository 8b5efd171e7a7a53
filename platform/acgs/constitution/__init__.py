"""The constitution: document, canonical digest, lock, fixtures and the shipped text."""

"""Receipts and the RFC 6962 audit log."""

"""Webhooks: lifecycle events sent, signed, to whoever wants to know; tried again until they arrive, or long enough."""

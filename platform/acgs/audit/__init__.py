"""Signed receipts and the tamper-evident log that holds them.

A replica signs a receipt for each decision (`receipts`), writes it to a file of its own before it answers (`journal`,
put together in `recorder`), and one sequencer merges those files into an RFC 6962 Merkle tree (`sequencer`) whose
checkpoints it signs (`checkpoints`). Anybody with the public key can check a receipt, an inclusion proof or the whole
log offline (`receipts`, `proofs`, `verification`).

Nothing is imported here: a serving replica needs a few of these modules only, and its cold start counts.
"""

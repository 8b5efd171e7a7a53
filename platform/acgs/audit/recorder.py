"""Recording a decision: sign its receipt, write it to the replica's journal, and only then hand it out."""

from __future__ import annotations

from collections.abc import Iterable

from acgs.audit.entries import Event
from acgs.audit.journal import Journal, Position
from acgs.audit.keys import SigningKey
from acgs.audit.receipts import DecisionFacts, ReceiptSigner, SignedReceipt


class AuditRecorder:
    """A replica's way into the audit log. All methods raise `AuditWriteError` if the record could not be written."""

    def __init__(self, journal: Journal, key: SigningKey, replica_id: str) -> None:
        self._journal = journal
        self._signer = ReceiptSigner(key, replica_id)

    async def record(self, facts: DecisionFacts) -> SignedReceipt:
        """Return the receipt of a decision once it is on record."""
        receipt = self._signer.issue(facts)
        await self._journal.append_async(receipt.entry)
        return receipt

    async def record_many(self, decisions: Iterable[DecisionFacts]) -> list[SignedReceipt]:
        """Return the receipts of a batch, written together."""
        receipts = self._signer.issue_many(decisions)
        await self._journal.append_batch_async([receipt.entry for receipt in receipts])
        return receipts

    def record_event(self, event: Event) -> Position:
        """Put a lifecycle event on record, waiting for it; for jobs, not for an event loop."""
        return self._journal.append(event.entry())

    def close(self) -> None:
        """Flush and close the journal."""
        self._journal.close()

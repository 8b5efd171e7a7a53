"""Where the audit files of an installation stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_ORIGIN = "acgs.local/audit"


@dataclass(frozen=True, slots=True)
class AuditDirectory:
    """The directory that replicas, the sequencer and verifiers share."""

    root: Path

    @property
    def journals(self) -> Path:
        """The replicas' write-ahead files."""
        return self.root / "journals"

    @property
    def log(self) -> Path:
        """The tree: tiles, entry bundles and checkpoint as in C2SP tlog-tiles, and the sequencer's state."""
        return self.root / "log"

    @property
    def public_keys(self) -> Path:
        """The verifier keys of this installation's log, one a line, latest last."""
        return self.root / "log.pub"

    @property
    def retired_keys(self) -> Path:
        """Earlier signing keys' public halves, each with until when it counts."""
        return self.root / "retired-keys.json"

    @property
    def signing_key(self) -> Path:
        """The key file of an installation that names no other (`ACGS_SIGNING_KEY`)."""
        return self.root / "signing-key.pem"

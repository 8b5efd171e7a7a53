"""A process that rotates the signing key, and is killed (kill -9) before or after one step of it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.killing import die_at


def main(step: str, when: str, root: str) -> None:
    """Arrange the kill, and work until it comes."""
    die_at(step, when)
    from acgs.audit.layout import AuditDirectory
    from acgs.audit.rotation import rotate_signing_key

    audit = AuditDirectory(Path(root))
    rotate_signing_key(audit, audit.signing_key, actor="root")


if __name__ == "__main__":
    main(*sys.argv[1:])

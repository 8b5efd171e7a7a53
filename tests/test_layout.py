"""Facts about the repository that would break silently."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_standard_librarys_platform_stays_importable_from_the_repository_root() -> None:
    code = "import platform; print(platform.system())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip()


def test_the_serving_path_starts_without_torch() -> None:
    code = (
        "import sys, acgs.governance.assembly, acgs.governance.service;"
        "print([name for name in ('torch', 'transformers', 'ray', 'fastapi') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

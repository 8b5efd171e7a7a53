from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_standard_librarys_platform_stays_importable_from_the_root() -> None:
    code = "import platform; print(platform.python_version())"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == sys.version.split()[0]
    assert not (ROOT / "platform" / "__init__.py").exists()

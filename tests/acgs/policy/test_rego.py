"""Rego's native library beside others in one process."""

from __future__ import annotations

import subprocess
import sys


def test_torch_can_be_loaded_behind_the_rego_engine() -> None:
    program = "import acgs.policy.rego, torch; print(torch.ones(2).sum().item())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "2.0"), done.stderr[-500:]

"""Processes below one that a test started."""

from __future__ import annotations

import subprocess
from contextlib import suppress

import psutil


def below(job: subprocess.Popen[bytes], word: str) -> list[psutil.Process]:
    """Those with the word in their command line."""
    found = []
    for child in psutil.Process(job.pid).children(recursive=True):
        # Ray's processes come and go.
        with suppress(psutil.Error):
            if any(word in part for part in child.cmdline()):
                found.append(child)
    return found

"""Random numbers of a private run: from the operating system, never from a seed that somebody could know or replay.

NumPy's Philox takes a 128-bit key and its ziggurat has exact normal tails. A `torch.Generator` on the CPU keeps 32
bits of its seed, few enough to try them all, and its float32 normals end before 6 standard deviations. A fresh key per
process also means that ranks never share a mask and a restarted run never replays noise on other batches.
"""

from __future__ import annotations

import secrets
from typing import Protocol

import numpy as np
import torch

_KEY_BITS = 128
_CHUNK = 1 << 20
"""Normals drawn at a time in float64; bounds the extra memory to 8 MiB."""


def fresh_generator() -> np.random.Generator:
    """A generator that nobody else has: keyed anew by the operating system at every call."""
    return np.random.Generator(np.random.Philox(key=secrets.randbits(_KEY_BITS)))


class NoiseSource(Protocol):
    """What adds noise to the summed gradient."""

    def add_normal(self, target: torch.Tensor, deviation: float) -> None:
        """Add independent normals of mean 0 and standard deviation `deviation` to the flat float32 `target`."""
        ...


class FreshNoise:
    """Gaussian noise from a generator of its own."""

    def __init__(self) -> None:
        self._generator = fresh_generator()

    def add_normal(self, target: torch.Tensor, deviation: float) -> None:
        """Drawn in float64 on the CPU, rounded once to float32."""
        for part in target.split(_CHUNK):
            drawn = torch.from_numpy(self._generator.standard_normal(len(part)) * deviation)
            part.add_(drawn.to(part.device, part.dtype))

"""The artifact store against a raw pipeline of the same steps, memory of a put, verifying against plain reading.

`python -m benchmarks.registry [--megabytes 512] [--rounds 5] [--json]`. The artifact is generated: half random bytes,
half words. The contenders take turns within a round; every put runs in a fresh process into an empty store, whose peak
memory is what the kernel counted for it (VmHWM).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save_file

from acgs.registry.artifacts.keys import KeyFile
from acgs.registry.artifacts.local_blobs import LocalBlobs
from acgs.registry.artifacts.manifest import Manifest
from acgs.registry.artifacts.sealing import LEVEL
from acgs.registry.artifacts.store import ArtifactStore

MEGABYTE = 1 << 20
BUFFER = 4 * MEGABYTE
TENSOR = 16 * MEGABYTE
MAX_FILE = 512 * MEGABYTE
MIN_SHARE = 0.6
MAX_RSS_MB = 200
MAX_SMALL_MS = 30
SMALL_PUTS = 40
WORDS = np.frombuffer(b"".join(f"word{index:04d}".encode() for index in range(256)), np.uint8).reshape(256, 8)


def generate(folder: Path, megabytes: int) -> int:
    """Write safetensors files of that size in all; returns their bytes."""
    folder.mkdir()
    left, number = megabytes * MEGABYTE, 0
    while left > 0:
        tensors = {}
        for index in range(min(MAX_FILE, left) // TENSOR or 1):
            rng = np.random.default_rng((number, index))
            size = min(TENSOR, left)
            noise = rng.integers(0, 256, size // 2, np.uint8)
            words = WORDS[rng.integers(0, len(WORDS), size // 16)].reshape(-1)
            tensors[f"t{index:03d}"] = np.concatenate([noise, words])
            left -= size
        save_file(tensors, folder / f"part-{number}.safetensors")
        number += 1
    return sum(file.stat().st_size for file in folder.iterdir())


def raw_pipeline(source: Path, target: Path) -> None:
    """The same compressor and cipher over the same buffers, in one thread, into one file."""
    cipher = AESGCM(AESGCM.generate_key(256))
    with target.open("wb") as out:
        for file in sorted(source.iterdir()):
            with file.open("rb") as handle:
                while plain := handle.read(BUFFER):
                    nonce = os.urandom(12)
                    out.write(
                        nonce + cipher.encrypt(nonce, zstandard.ZstdCompressor(level=LEVEL).compress(plain), None)
                    )
        out.flush()
        os.fsync(out.fileno())


def shell_pipeline(source: Path, target: Path) -> None:
    """`zstd | openssl enc` over all files; openssl has no GCM there, CTR does the same encryption without the tag."""
    files = sorted(source.iterdir())
    with target.open("wb") as out:
        packed = subprocess.Popen(["zstd", f"-{LEVEL}", "-q", "-c", *map(str, files)], stdout=subprocess.PIPE)
        key = ["-K", os.urandom(32).hex(), "-iv", os.urandom(16).hex()]
        subprocess.run(["openssl", "enc", "-aes-256-ctr", *key], stdin=packed.stdout, stdout=out, check=True)
        if packed.wait():
            raise subprocess.CalledProcessError(packed.returncode, "zstd")
        os.fsync(out.fileno())


def plain_reading(source: Path) -> None:
    """SHA-256 of every file, read in one thread."""
    for file in source.iterdir():
        with file.open("rb") as handle:
            hashlib.file_digest(handle, "sha256")


def put_in_child(source: Path, room: Path) -> dict[str, float]:
    """Put in a fresh process; seconds of the put alone, and the process's peak memory in MB."""
    command = [sys.executable, "-m", "benchmarks.registry", "--put", str(source), str(room)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def child(source: Path, room: Path) -> None:
    """The put of `put_in_child`; leaves the manifest in `room`."""
    store = open_store(room)
    started = time.perf_counter()
    manifest = store.put(source)
    seconds = time.perf_counter() - started
    (room / "manifest.json").write_text(manifest.model_dump_json())
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "peak_mb": int(peak.split()[1]) / 1024}))


def open_store(room: Path) -> ArtifactStore:
    """The store in a folder."""
    room.mkdir(exist_ok=True)
    return ArtifactStore(LocalBlobs(room / "blobs"), KeyFile.load_or_create(room / "artifacts.key"))


def timed(action: Callable[[], object]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def compare(source: Path, work: Path, rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of each contender in each round, and the peak memory of each put."""
    has_shell = all(map(shutil.which, ("zstd", "openssl")))
    seconds: dict[str, list[float]] = {}
    peaks = []
    for _ in range(rounds):
        room, out = work / "room", work / "raw.bin"
        put = put_in_child(source, room)
        peaks.append(put["peak_mb"])
        store = open_store(room)
        manifest = Manifest.model_validate_json((room / "manifest.json").read_bytes())
        contenders: dict[str, Callable[[], object]] = {
            "raw": partial(raw_pipeline, source, out),
            "put again": partial(store.put, source),
            "fetch": partial(store.fetch, manifest, work / "fetched"),
            "verify": partial(verify, store, manifest, stored_only=False),
            "verify stored": partial(verify, store, manifest, stored_only=True),
            "sha256": partial(plain_reading, source),
        }
        if has_shell:
            contenders["shell"] = partial(shell_pipeline, source, out)
        seconds.setdefault("put", []).append(put["seconds"])
        for name, action in contenders.items():
            seconds.setdefault(name, []).append(timed(action))
        shutil.rmtree(room)
        shutil.rmtree(work / "fetched")
        out.unlink()
    return seconds, peaks


def verify(store: ArtifactStore, manifest: Manifest, *, stored_only: bool) -> None:
    """Verify; stop if the benchmark's own artifact is not sound."""
    if findings := store.verify(manifest, stored_only=stored_only):
        raise SystemExit(f"the benchmark's artifact does not verify: {findings[0]}")


def small_puts(work: Path) -> list[float]:
    """Milliseconds of puts of 1 MB each, all different, into one store."""
    store = open_store(work / "small")
    times = []
    for index in range(SMALL_PUTS):
        rng = np.random.default_rng(index)
        path = work / "small.safetensors"
        save_file({"w": rng.random(MEGABYTE // 4, np.float32)}, path)
        times.append(timed(partial(store.put, path)) * 1e3)
    return times


def run(megabytes: int, rounds: int) -> dict[str, Any]:
    """Every figure; rates in MB of plain bytes a second."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="acgs-bench-") as name:
        work = Path(name)
        size = generate(work / "source", megabytes) / MEGABYTE
        seconds, peaks = compare(work / "source", work, rounds)
        small = small_puts(work)
    shares = [raw / put for put, raw in zip(seconds["put"], seconds["raw"], strict=True)]
    return {
        "megabytes": size,
        "rounds": rounds,
        "load": [before, os.getloadavg()[0]],
        "rates": {what: as_rate(spread(values), size) for what, values in seconds.items()},
        "put_of_raw": statistics.median(shares),
        "verify_of_sha256": statistics.median(
            plain / full for full, plain in zip(seconds["verify stored"], seconds["sha256"], strict=True)
        ),
        "peak_mb": max(peaks),
        "small_ms": spread(small),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Number, median and 99th percentile (nearest rank)."""
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }


def as_rate(seconds: dict[str, float], megabytes: float) -> dict[str, float]:
    """MB/s; the 99th percentile is that of the times, so the slow end."""
    return {"n": seconds["n"], "p50": megabytes / seconds["p50"], "p99": megabytes / seconds["p99"]}


def main() -> int:
    """Print the table; the exit code is 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=512, choices=range(16, 4097), metavar="16..4096")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--put", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.put:
        child(*arguments.put)
        return 0
    found = run(arguments.megabytes, arguments.rounds)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    missed = found["put_of_raw"] < MIN_SHARE or found["peak_mb"] > MAX_RSS_MB or found["small_ms"]["p50"] > MAX_SMALL_MS
    return int(missed)


def show(found: dict[str, Any]) -> None:
    """The table for people."""
    load = " -> ".join(f"{value:.1f}" for value in found["load"])
    table = Table(title=f"Artifact store, {found['megabytes']:.0f} MB, load {load}")
    for heading in ("what", "unit", "n", "p50", "p99"):
        table.add_column(heading, justify="left" if heading in ("what", "unit") else "right")
    for what, values in found["rates"].items():
        table.add_row(what, "MB/s", str(values["n"]), f"{values['p50']:.0f}", f"{values['p99']:.0f}")
    small = found["small_ms"]
    table.add_row("put of 1 MB", "ms", str(small["n"]), f"{small['p50']:.1f}", f"{small['p99']:.1f}")
    console = Console()
    console.print(table)
    console.print(f"put / raw pipeline: {found['put_of_raw']:.2f} (target >= {MIN_SHARE})")
    console.print(f"verify of stored bytes / plain SHA-256: {found['verify_of_sha256']:.2f}")
    console.print(f"peak memory of a put: {found['peak_mb']:.0f} MB (target <= {MAX_RSS_MB})")


if __name__ == "__main__":
    raise SystemExit(main())

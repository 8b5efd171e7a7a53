"""A small public set in the layout of `surge_toxicity`, and settings under which training on it takes seconds."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from acgs.learning.guard.harm_run import HarmConfig
    from acgs.privacy.sql_ledger import SqlLedger

KIND = ["thank", "garden", "lovely", "friend", "help", "music", "walk", "bread", "morning", "kind"]
NASTY = ["idiot", "trash", "hate", "worthless", "stupid", "disgusting", "scum", "loser", "vile", "moron"]


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(4)
    folder = tmp_path_factory.mktemp("sets")
    path = folder / "surge_toxicity" / "toxicity_en.csv"
    path.parent.mkdir()
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "is_toxic"])
        for number in range(160):
            words = rng.choices(NASTY if number % 2 else KIND, k=5)
            writer.writerow([f"you {' '.join(words)}", "Toxic" if number % 2 else "Not Toxic"])
    return folder


@pytest.fixture(scope="module")
def quick() -> HarmConfig:
    from acgs.learning.guard.harm_run import HarmConfig, WarmStart
    from acgs.learning.guard.private_adapter import PlainSettings, PrivateSettings

    return HarmConfig(
        sets=("surge_toxicity",),
        max_tokens=16,
        accountant="rdp",
        warm_start=WarmStart(sets=(), phrases=40, training=PlainSettings(epochs=1)),
        private=PrivateSettings(first_layer=5, rank=2, steps=8, expected_batch=64, micro_batch=32, block=3),
        compared=PlainSettings(first_layer=5, rank=2, epochs=2),
        resamples=50,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    from acgs.privacy.sql_ledger import SqlLedger
    from acgs.storage.engine import default_url, open_engine
    from acgs.storage.migrate import upgrade

    engine = open_engine(default_url(tmp_path / "state"))
    upgrade(engine)
    return SqlLedger(engine)

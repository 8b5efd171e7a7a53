"""What the registry holds is what a slot loads, every kind of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from acgs.constitution.lock import LockedConstitution
from acgs.registry.describing import describe
from acgs.registry.opening import open_registry
from acgs.serving.keeper import loader
from acgs.serving.package import Kind
from acgs.settings import Settings
from serve_apps.models_settings import ModelSettings
from serve_apps.models_slot import open_fetch
from tests.acgs.serving.models import WRITERS


@pytest.mark.parametrize("kind", list(Kind))
def test_a_registered_model_folder_is_fetched_and_served(
    kind: Kind, tmp_path: Path, constitution: LockedConstitution
) -> None:
    folder = WRITERS[kind](tmp_path / "made")
    settings = Settings(state_dir=tmp_path / "state")
    registry = open_registry(settings)
    registry.create("made", folder, describe({"kind": kind.value}), actor="mia", constitution=constitution)
    served = loader(open_fetch(settings, ModelSettings()))("made", "1.0.0")
    assert served.package.folder != folder
    assert served.description()["kind"] == kind

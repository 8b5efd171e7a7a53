"""Packing without the libraries that it needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from acgs.errors import UnavailableError
from acgs.serving.packing import pack_sklearn


def test_without_skops_the_extra_to_install_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(UnavailableError, match=r"pip install 'acgs\[models\]'"):
        pack_sklearn(object(), tmp_path, instance={}, prediction={}, probes=[])

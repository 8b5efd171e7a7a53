"""How lint and fixtures ask for a verdict without knowing the engines and models above them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Judge = Callable[[tuple[str, ...], Mapping[str, Mapping[str, Any]]], dict[str, str]]
"""Scopes and a document of `context`, `input_data` and `facts` in; breached rule ids and their severities out."""

Decide = Callable[[str, str, Mapping[str, Any]], str]
"""Text, domain and context in; `comply`, `violate` or `uncertain` out."""

"""Natural language for scenarios: a small grammar over the lexicon of acts, near-misses and frames.

A phrase pairs a text with the principles it breaches. Its `group` is the act it came from, so that a split by group
never has one act on both sides.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

_SLOT = re.compile(r"\{(\w+)\}")

# Shares of the ways to say something; chosen so that both verdicts are about equally frequent.
_BREACH_SHARE = 0.5
_TURNED_SHARE = 0.3
_EVASION_SHARE = 0.25
_FILLER_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text, the principles it breaches (none: it complies) and the act it was built from."""

    text: str
    breaches: tuple[str, ...]
    group: str


@dataclass(frozen=True, slots=True)
class _Act:
    """One entry of a family; `framed` entries are verb phrases, the others whole sentences."""

    template: str
    breaches: tuple[str, ...]
    group: str
    framed: bool


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The parsed lexicon."""

    frames: list[str]
    turning_frames: list[str]
    evasion_frames: list[str]
    fillers: list[str]
    slots: dict[str, list[str]]
    breaching: list[_Act]
    complying: list[_Act]
    turnable: list[_Act]


@cache
def lexicon() -> Lexicon:
    """The lexicon that ships with the package, parsed once."""
    raw: dict[str, Any] = yaml.safe_load(
        (files("acgs.governance.scenarios") / "lexicon.yaml").read_text(encoding="utf-8")
    )
    breaching: list[_Act] = []
    complying: list[_Act] = []
    for family in raw["families"]:
        breaches = tuple(family["principles"])
        for key, sink, principles in (("violate", breaching, breaches), ("comply", complying, ())):
            for suffix in ("", "_text"):
                for number, template in enumerate(family.get(key + suffix, [])):
                    group = f"{family['id']}/{key}{suffix}/{number}"
                    sink.append(_Act(template, principles, group, framed=not suffix))
    return Lexicon(
        frames=raw["frames"],
        turning_frames=raw["turning_frames"],
        evasion_frames=raw["evasion_frames"],
        fillers=raw["fillers"],
        slots=raw["slots"],
        breaching=breaching,
        complying=complying,
        turnable=[act for act in breaching if act.framed],
    )


def _fill(template: str, slots: dict[str, list[str]], rng: random.Random) -> str:
    if "{" not in template:
        return template
    replace: Callable[[re.Match[str]], str] = lambda match: rng.choice(slots[match[1]])  # noqa: E731
    return _SLOT.sub(replace, template)


def _dress(text: str, fillers: list[str], rng: random.Random) -> str:
    """Vary what does not change the meaning: a distractor before or after, case, the final mark."""
    if rng.random() < _FILLER_SHARE:
        filler = rng.choice(fillers)
        text = f"{filler} {text}" if rng.random() < 0.5 else f"{text} {filler}"
    style = rng.random()
    if style < 0.15:
        return text.lower().rstrip("?.")
    if style < 0.5:
        return text[0].upper() + text[1:]
    return text


def phrase(rng: random.Random, words: Lexicon | None = None) -> Phrase:
    """Draw one phrase. The same state of `rng` gives the same phrase."""
    words = words or lexicon()
    breaches: tuple[str, ...]
    if rng.random() < _BREACH_SHARE:
        act = rng.choice(words.breaching)
        frame = rng.choice(words.evasion_frames if rng.random() < _EVASION_SHARE else words.frames)
        breaches = act.breaches
        if frame in words.evasion_frames and act.framed:
            breaches = tuple(dict.fromkeys((*breaches, "constitutional_compliance")))
    elif rng.random() < _TURNED_SHARE:
        act = rng.choice(words.turnable)
        frame = rng.choice(words.turning_frames)
        breaches = ()
    else:
        act = rng.choice(words.complying)
        frame = rng.choice(words.frames)
        breaches = ()
    sentence = frame.replace("{act}", act.template) if act.framed else act.template
    text = _dress(_fill(sentence, words.slots, rng), words.fillers, rng)
    return Phrase(text=text, breaches=breaches, group=act.group)

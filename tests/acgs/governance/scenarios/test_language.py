from __future__ import annotations

import random
import re
from collections import defaultdict

from acgs.constitution.lock import LockedConstitution
from acgs.governance.scenarios.language import Phrase, lexicon, phrase


def _phrases(count: int, seed: int = 0) -> list[Phrase]:
    rng = random.Random(seed)
    return [phrase(rng) for _ in range(count)]


def test_the_same_state_gives_the_same_phrase() -> None:
    assert _phrases(200) == _phrases(200)


def test_no_slot_is_left_open() -> None:
    assert [said.text for said in _phrases(5000) if re.search(r"[{}]", said.text)] == []


def test_every_slot_in_the_lexicon_has_words() -> None:
    words = lexicon()
    acts = [*words.breaching, *words.complying]
    used = {slot for act in acts for slot in re.findall(r"\{(\w+)\}", act.template)}
    assert used == set(words.slots)
    assert all(words.slots.values())


def test_principles_of_the_lexicon_are_the_constitutions_core(constitution: LockedConstitution) -> None:
    named = {name for act in lexicon().breaching for name in act.breaches}
    assert named == set(constitution.document.core_principle_ids)


def test_no_text_is_said_with_both_verdicts() -> None:
    verdicts = defaultdict(set)
    for said in _phrases(20_000):
        verdicts[said.text.casefold().rstrip("?.")].add(bool(said.breaches))
    assert [text for text, found in verdicts.items() if len(found) > 1] == []


def test_a_frame_alone_does_not_give_the_verdict_away() -> None:
    words = lexicon()
    seen: dict[str, set[bool]] = defaultdict(set)
    for said in _phrases(20_000):
        for frame in words.frames:
            head = frame.split("{act}")[0]
            if head and said.text.startswith(head):
                seen[frame].add(bool(said.breaches))
    assert all(found == {True, False} for found in seen.values())
    assert len(seen) > len(words.frames) / 2


def test_both_verdicts_are_about_equally_frequent() -> None:
    share = sum(bool(said.breaches) for said in _phrases(10_000)) / 10_000
    assert 0.45 < share < 0.55

from __future__ import annotations

import pytest

from acgs.learning.revision.acceptance import is_refusal, leaks_prefix
from acgs.learning.revision.assessment import Assessment, Finding
from acgs.learning.revision.content import content_kept


@pytest.mark.parametrize(
    "text",
    [
        "Here is a revised response: eat well.",
        "Sure! Here's the rewritten version.\nEat well.",
        "Revised response: eat well.",
        "**Revision:** eat well.",
        "The following is an edited answer. Eat well.",
    ],
)
def test_talk_about_the_revision_is_a_leak(text: str) -> None:
    assert leaks_prefix(text)


@pytest.mark.parametrize("text", ["Revised editions sell well.", "Here is a list of fruit.", "Eat well."])
def test_an_answer_that_only_sounds_like_it_is_no_leak(text: str) -> None:
    assert not leaks_prefix(text)


@pytest.mark.parametrize("text", ["I can't help with that.", "I\u2019m sorry, no.", "As an AI, no.", "I won't."])
def test_a_refusal_is_known_by_its_opening(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", ["I can help with that.", "You cannot park here."])
def test_an_answer_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


def _found(start: int, end: int) -> Assessment:
    return Assessment(False, 0.0, ("p",), (), (Finding(start, end, ("p",)),))


def test_only_compliant_content_counts_as_kept() -> None:
    text = "Plant tulips early. Steal bicycles often."
    assessment = _found(20, 41)
    assert content_kept(text, assessment, "Plant tulips early.").words == 1.0
    assert content_kept(text, assessment, "Plant roses early.").words == pytest.approx(2 / 3)
    assert content_kept(text, assessment, "Steal bicycles often.").words == 0.0
    assert content_kept(text, assessment, "I cannot help with that.").sentences == 0.0


def test_nothing_to_keep_is_no_data() -> None:
    assert content_kept("Steal bicycles.", _found(0, 15), "Buy bicycles.").words is None

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgs.errors import InvalidInputError
from acgs.learning.revision.loop import LoopSettings, RevisionLoop
from acgs.learning.revision.report import report_on
from acgs.learning.revision.reviser import PromptedReviser

from .conftest import Loop, Scripted, WordJudge, row

MIXED = "First do a good thing. Then do a bad thing. Then another bad thing."


def _one_by_one(request: str, response: str) -> str:
    """Repairs one sentence a round."""
    return response.replace("bad", "fine", 1) if "Rewrite" in request else "It is bad."


def test_a_response_is_revised_until_it_complies_and_the_chain_tells_all(make_loop: Loop) -> None:
    (chain,) = make_loop(Scripted(_one_by_one)).run([row(MIXED)])
    assert chain.status == "revised"
    assert [step.improved for step in chain.rounds] == [True, True]
    assert chain.chosen[-1].content == "First do a good thing. Then do a fine thing. Then another fine thing."
    assert chain.rejected[-1].content == MIXED == chain.init_response
    assert chain.revision_response == chain.chosen[-1].content
    assert (chain.principle_id, chain.critic_response) == ("rule_of_law", "It is bad.")
    assert chain.content_kept == 1.0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text("abc .", min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=5))
def test_a_compliant_response_is_never_touched(make_loop: Loop, texts: list[str]) -> None:
    good = [text for text in texts if "bad" not in text]
    generator = Scripted(lambda *_: "changed altogether")
    chains = make_loop(generator).run([row(text, line) for line, text in enumerate(good, start=1)])
    assert generator.conversations == []
    assert [(chain.status, chain.messages[-1].content) for chain in chains] == [("compliant", text) for text in good]


def test_no_more_rounds_than_allowed_and_the_best_is_kept(make_loop: Loop) -> None:
    text = "A bad one. A bad two. A bad three. A bad four."
    (chain,) = make_loop(Scripted(_one_by_one), max_rounds=3).run([row(text)])
    assert (len(chain.rounds), chain.status, chain.drop_reason) == (3, "dropped", "still_breaches")
    assert chain.revision_response is not None
    assert chain.revision_response.count("bad") == 1
    assert chain.chosen == ()


def test_it_stops_when_a_revision_is_no_better(make_loop: Loop) -> None:
    worse = Scripted(lambda request, _: "All of it is quite bad now.")
    (chain,) = make_loop(worse).run([row("Do a bad thing today.")])
    assert (len(chain.rounds), chain.drop_reason, chain.rounds[0].improved) == (1, "not_improved", False)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "too_short"),
        ("No.", "too_short"),
        ("Here is a revised response: do a fine thing today.", "leaked_prefix"),
        ("Do a bad thing today.", "too_similar"),
    ],
)
def test_an_unfit_revision_is_dropped_with_its_reason(make_loop: Loop, answer: str, reason: str) -> None:
    (chain,) = make_loop(Scripted(lambda *_: answer)).run([row("Do a bad thing today.")])
    assert (chain.status, chain.drop_reason) == ("dropped", reason)


def test_what_a_context_breaches_is_not_reworded(make_loop: Loop) -> None:
    generator = Scripted(_one_by_one)
    (chain,) = make_loop(generator).run([row(MIXED, context={"audit_logging": False})])
    assert (chain.drop_reason, generator.conversations) == ("context_breach", [])


def test_a_prompt_without_a_response_is_dropped_in_its_place(make_loop: Loop) -> None:
    chains = make_loop(Scripted(_one_by_one)).run([row(None, 1), row(MIXED, 2)])
    assert [(chain.line, chain.drop_reason) for chain in chains] == [(1, "no_response"), (2, None)]


def test_a_row_does_not_depend_on_its_batch(make_loop: Loop) -> None:
    rows = [row(f"{MIXED} Number {line}.", line) for line in range(1, 6)]
    together = make_loop(Scripted(_one_by_one)).run(rows)
    alone = [make_loop(Scripted(_one_by_one)).run([one])[0] for one in rows]
    assert [chain.messages for chain in together] == [chain.messages for chain in alone]


def test_the_evaluator_may_not_be_the_critic(make_loop: Loop, document: object) -> None:
    critic = WordJudge("bad", "critic")
    for evaluator in (critic, WordJudge("bad", "critic")):
        with pytest.raises(InvalidInputError, match="independent"):
            RevisionLoop(
                critic=critic,
                evaluator=evaluator,
                reviser=PromptedReviser(Scripted(_one_by_one), document, LoopSettings().sampling),  # type: ignore[arg-type]
                constitution_digest="0" * 64,
                settings=LoopSettings(),
            )


def test_refusing_everything_keeps_no_content_and_is_counted(make_loop: Loop) -> None:
    refuse = Scripted(lambda *_: "I'm sorry, but I can't help with this request at all.")
    report = report_on(make_loop(refuse).run([row(MIXED, line) for line in range(1, 4)]))
    assert report.revised_rows.after.value == 1.0
    assert report.content_kept == 0.0
    assert report.refusals.value == 1.0


def test_without_a_revision_there_is_no_figure_instead_of_a_good_one(make_loop: Loop) -> None:
    report = report_on(make_loop(Scripted(_one_by_one)).run([row("A good thing.")]))
    assert (report.mean_rounds, report.content_kept, report.refusals.value) == (None, None, None)
    assert (report.usable_rows.after.count, report.usable_rows.after.n) == (1, 1)
    assert report.usable_rows.after.lower < 0.5

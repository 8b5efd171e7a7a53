from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acgs.governance.domains.finance.sanctions import (
    MATCH_SCORE,
    POSSIBLE_SCORE,
    ListedEntity,
    SanctionsIndex,
    SanctionsList,
    load_sanctions_list,
)
from acgs.governance.domains.finance.sanctions.normalise import name_tokens, sound_key

DATA = Path(__file__).parents[7] / "shared" / "data" / "sanctions_watchman"
NAMES = ("AL-ZAWAHIRI, Ayman", "Banco Nacional de Cuba", "Кузнецов Виктор", "SALEH, Mohammed Abdul", "Kim Jong Un")
INDEX = SanctionsIndex(
    [SanctionsList.of("t", [ListedEntity(str(n), "person", (name,)) for n, name in enumerate(NAMES)])]
)


@given(st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_a_listed_name_is_found_whatever_its_order_and_case(name: str, chance: random.Random) -> None:
    words = name.replace(",", " ").split()
    chance.shuffle(words)
    best = INDEX.screen(" ".join(words).swapcase())[0]
    assert (NAMES[int(best.entity_id)], best.score) == (name, 1.0)


@given(st.text(max_size=60))
def test_any_text_can_be_screened_and_scores_stay_in_range(text: str) -> None:
    assert all(POSSIBLE_SCORE <= match.score <= 1 for match in INDEX.screen(text))


@pytest.mark.parametrize(
    ("left", "right"),
    [("Виктор Кузнецов", "Viktor Kuznetsov"), ("Müller GmbH", "MULLER"), ("O'Brien, Pat", "pat obrien"),
     ("Banco Nacional S.A.", "banco nacional")],
)  # fmt: skip
def test_script_accents_punctuation_and_legal_forms_do_not_tell_names_apart(left: str, right: str) -> None:
    assert sorted(name_tokens(left)) == sorted(name_tokens(right))


def test_romanisations_of_one_name_share_a_sound_key() -> None:
    assert len({sound_key(name) for name in ("mohammed", "muhamad", "mohamed", "muhammad")}) == 1
    assert sound_key("ivan") != sound_key("peter")


def test_a_name_of_particles_and_legal_forms_alone_keeps_its_words() -> None:
    assert name_tokens("AL CO") == ("al", "co")
    assert name_tokens("...") == ()


def test_each_party_is_reported_once_with_the_alias_that_matched_best() -> None:
    source = SanctionsList.of("t", [ListedEntity("9", "person", ("Peter Parker", "Spider Mann", "Spyder Mann"))])
    matches = SanctionsIndex([source]).screen("Spyder Mann")
    assert [(match.entity_id, match.alias_index, match.score) for match in matches] == [("9", 2, 1.0)]


@pytest.mark.skipif(not DATA.exists(), reason="the OFAC and UN snapshots are not here")
def test_mistyped_aliases_of_the_real_lists_are_found_and_ordinary_names_are_not() -> None:
    lists = [load_sanctions_list(DATA / "ofac_bench" / "sdn.csv"), load_sanctions_list(DATA / "UN_consolidated.xml")]
    index = SanctionsIndex(lists)
    chance = random.Random(5)
    aliases = [(entity.entity_id, name) for source in lists for entity in source.entities for name in entity.names[1:]]
    drawn = chance.sample([pair for pair in aliases if len(pair[1]) > 10 and " " in pair[1]], 150)
    hits = 0
    for entity_id, name in drawn:
        place = chance.randrange(1, len(name) - 1)
        hits += entity_id in {match.entity_id for match in index.screen(name[:place] + name[place + 1 :], limit=20)}
    assert hits / len(drawn) >= 0.95
    ordinary = ["Margarethe Oberhuber", "Emily Watkins", "Bjorn Halvorsen", "Giulia Bianchi", "Thomas Whitfield"]
    assert [name for name in ordinary if any(match.score >= MATCH_SCORE for match in index.screen(name))] == []

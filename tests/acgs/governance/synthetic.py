"""A small guard bundle made in a second: some words, a random encoder that minds a few of them, a real forest."""

from __future__ import annotations

import json
import lzma
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acgs.audit.keys import SigningKey
from acgs.constitution.lock import LockedConstitution
from acgs.governance import bundle as bundles
from acgs.governance.diagnostics import OutOfBagReport, out_of_bag_report, out_of_bag_scores
from acgs.governance.diversity import GrownForest, grow
from acgs.governance.encoder import CONVOLUTIONS, EncoderWeights
from acgs.governance.features import OVERALL, WORST_RULE, feature_names, head_names
from acgs.governance.forest import Floats, Forest, Ints, TreeArrays
from acgs.learning.guard.calibrate import steps_of
from acgs.statistics.calibration import isotonic_steps
from acgs.statistics.conformal import conformal_band

HARMFUL = ("bomb", "poison", "malware", "steal", "torture", "blackmail")
UNCLEAR = ("knife",)
BENIGN = (
    *("the", "a", "of", "to", "and", "in", "for", "please", "help", "me", "with", "my", "garden", "report", "summary"),
    *("letter", "bread", "recipe", "walk", "travel", "plan", "book", "song", "kind", "notes", "meeting", "weather"),
)
WIDTH, FILTERS, HIDDEN = 16, 8, 12
TREES = 24


def tokenizer_json() -> str:
    """A word-level tokenizer; identifiers from 0, 100 is the unknown word."""
    words = ["[PAD]", *HARMFUL, *UNCLEAR, *BENIGN]
    vocabulary = {word: place for place, word in enumerate(words)}
    vocabulary |= {f"word{place}": place for place in range(len(words), 300) if place != 100}
    vocabulary["[UNK]"] = 100
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
        }
    )


def encoder_weights(heads: int, seed: int = 1) -> EncoderWeights:
    """Random weights; harmful words push every head up, benign ones and unknown ones down, an unclear one neither."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 0.2, shape).astype(np.float32)

    direct = np.full((300, heads), -12, dtype=np.int8)
    direct[1 : 1 + len(HARMFUL)] = 127
    direct[1 + len(HARMFUL) : 1 + len(HARMFUL) + len(UNCLEAR)] = 40
    features = 2 * WIDTH + len(CONVOLUTIONS) * FILTERS
    return EncoderWeights(
        embedding=rng.integers(-127, 128, (300, WIDTH)).astype(np.int8),
        embedding_scale=np.full(300, 0.01, dtype=np.float32),
        attention=drawn(300),
        direct=direct,
        direct_scale=np.full(heads, 0.2, dtype=np.float32),
        convolution=drawn(sum(len(offsets) for offsets in CONVOLUTIONS.values()), WIDTH, FILTERS),
        convolution_bias=drawn(len(CONVOLUTIONS), FILTERS),
        norm_scale=np.ones(features, dtype=np.float32),
        norm_bias=drawn(features),
        hidden=drawn(features, HIDDEN),
        hidden_bias=drawn(HIDDEN),
        output=drawn(HIDDEN, heads),
        output_bias=drawn(heads),
    )


@dataclass(frozen=True, slots=True)
class Scenarios:
    """Rows a forest can learn from: a text's scores and sometimes a breached rule; some labels are wrong."""

    rows: Floats
    violates: NDArray[np.bool_]
    groups: Ints
    weights: Floats


def scenarios(names: list[str], n: int = 900, seed: int = 2) -> Scenarios:
    """`n` scenarios in groups of three."""
    rng = np.random.default_rng(seed)
    rows = rng.random((n, len(names))) * 0.3
    violates = rng.random(n) < 0.4
    overall, worst = names.index(OVERALL), names.index(WORST_RULE)
    rows[:, worst] = 0.0
    by_rule = violates & (rng.random(n) < 0.3)
    by_text = violates & ~by_rule
    rows[by_rule, worst] = 1.0
    for column in range(overall):
        share = by_text & (rng.random(n) < 0.8)
        rows[share, column] = 0.6 + 0.4 * rng.random(int(share.sum()))
    rows[by_text, overall] = 0.75 + 0.25 * rng.random(int(by_text.sum()))
    violates ^= rng.random(n) < 0.01
    rows = rows.astype(np.float32).astype(np.float64)
    return Scenarios(rows, violates, np.arange(n) // 3, np.ones(n))


@dataclass(frozen=True, slots=True)
class JudgedForest:
    """A grown forest with what it was grown on and its out-of-bag report."""

    scenarios: Scenarios
    grown: GrownForest
    report: OutOfBagReport
    names: list[str]


def judged_forest(names: list[str], seed: int = 3) -> JudgedForest:
    """Grow a forest and judge it out of bag."""
    drawn = scenarios(names)
    grown = grow(
        drawn.rows, drawn.violates, drawn.groups, drawn.weights,
        trees=TREES, features_per_tree=round(0.6 * len(names)), seed=seed,
    )  # fmt: skip
    values = Forest(grown.trees, np.ones(grown.trees.count), names).tree_values(drawn.rows)
    report = out_of_bag_report(values, grown.out_of_bag, drawn.violates, threshold=0.3)
    return JudgedForest(drawn, grown, report, names)


def write_guard(directory: Path, constitution: LockedConstitution, forest: JudgedForest, key: SigningKey) -> None:
    """Write the bundle as training does."""
    document = constitution.document
    heads = head_names(document.core_principle_ids)
    values = Forest(forest.grown.trees, forest.report.weights, forest.names).tree_values(forest.scenarios.rows)
    scores = out_of_bag_scores(values, forest.grown.out_of_bag, forest.report.weights)
    seen = np.isfinite(scores)
    scores, labels = scores[seen], forest.scenarios.violates[seen]
    band = conformal_band(scores, labels, 0.05)
    stored = bundles.StoredBand(violate_from=band.violate_from, comply_to=band.comply_to, alpha=0.05)
    manifest = bundles.Manifest(
        name="synthetic-guard",
        version="0.0.1",
        constitution_digest=constitution.digest,
        seed=3,
        heads=heads,
        features=forest.names,
        platt={tier: [(1.0, 0.0)] * len(heads) for tier in ("inline", "comprehensive")},
        tree_weights=forest.report.weights.tolist(),
        out_of_bag_errors=forest.report.errors.tolist(),
        flagged_trees=forest.report.flagged,
        calibration=steps_of(isotonic_steps(scores, labels)),
        bands=dict.fromkeys(document.domains, stored),
        threshold=0.5,
        metrics={},
        files={},
    )
    contents = {
        bundles.ENCODER: bundles.encoder_bytes(encoder_weights(len(heads))),
        bundles.FOREST: bundles.forest_bytes(forest.grown.trees),
        bundles.TOKENIZER: lzma.compress(tokenizer_json().encode()),
    }
    bundles.write_bundle(directory, manifest, contents, key)


def random_trees(rng: random.Random, *, trees: int, features: int, depth: int = 4) -> TreeArrays:
    """Trees of random shape, cuts, covers and values; a feature may come up twice on a path."""
    nodes: list[list[float]] = []

    def grow_node(level: int, cover: float) -> int:
        place = len(nodes)
        nodes.append([-1, 0.0, 0, 0, rng.random(), cover])
        if level < depth and rng.random() < 0.8:
            share = 0.1 + 0.8 * rng.random()
            feature, cut = rng.randrange(features), round(rng.random(), 1)
            left, right = grow_node(level + 1, cover * share), grow_node(level + 1, cover * (1 - share))
            nodes[place] = [feature, cut, left, right, 0.0, cover]
        return place

    roots = [grow_node(0, 100.0) for _ in range(trees)]
    table = np.array(nodes)
    feature, left, right = (table[:, column].astype(np.int64) for column in (0, 2, 3))
    return TreeArrays(feature, table[:, 1], left, right, table[:, 4], table[:, 5], np.array(roots, dtype=np.int64))


def with_values(trees: TreeArrays, tree: int, value: float) -> TreeArrays:
    """The same trees, one of which says `value` whatever it is shown."""
    end = trees.roots[tree + 1] if tree + 1 < trees.count else len(trees.value)
    values = trees.value.copy()
    values[trees.roots[tree] : end] = value
    return replace(trees, value=values)


def names_of(constitution: LockedConstitution) -> list[str]:
    """The forest's columns under a constitution."""
    return feature_names(constitution.document.principle_ids)

"""LightGBM's text form of a booster, looked through before the library reads it.

The library trusts the text: a feature, child or leaf that is not there makes it read beside its arrays, and a tree that
goes in a circle never ends. So every tree is checked here, and what this module does not know is refused. The form is
the one that LightGBM 3 and 4 write ("version=v3", "v4"): a header of `name=value` lines, one block a tree, as long as
`tree_sizes` says, and "end of trees".
"""

from __future__ import annotations

import re
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from acgs.registry.artifacts.refusal import FormatError

START: Final = b"tree\n"
END: Final = b"end of trees"
MAX_TREES: Final = 1_000_000
MAX_FEATURES: Final = 10_000_000
MAX_LEAVES: Final = 1 << 20
MAX_DEPTH: Final = 4096
"""The library walks some trees by recursion."""
_MAX_LINE: Final = 64 << 20
_MAX_TREE_BYTES: Final = 256 << 20
_MAX_HEADER_LINES: Final = 64
_VERSIONS: Final = ("v3", "v4")
_WHOLE: Final = re.compile(r"-?[0-9]{1,10}")
_MANY_CLASSES: Final = ("multiclass", "multiclassova")
_ONE_VALUE: Final = (
    *("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie", "binary"),
    *("lambdarank", "rank_xendcg", "cross_entropy", "cross_entropy_lambda"),
)
_SPLITS: Final = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_PER_SPLIT: Final = (*_SPLITS, "split_gain", "internal_value", "internal_weight", "internal_count")
_PER_LEAF: Final = ("leaf_value", "leaf_weight", "leaf_count", "leaf_const", "num_features")
_TREE_NAMES: Final = frozenset(
    (*_PER_SPLIT, *_PER_LEAF, "num_leaves", "num_cat", "cat_boundaries", "cat_threshold",
     "is_linear", "leaf_features", "leaf_coeff", "shrinkage")
)  # fmt: skip
_CATEGORICAL: Final = 1
_DECISIONS: Final = 12
"""A decision is 1 if categorical, plus 2 if what is missing goes left, plus 4 times how it is missing: 0, 1 or 2."""

_Whole = NDArray[np.int64]


def check_booster(handle: BinaryIO) -> int:
    """Look through a booster from its first byte; the file's position is then undefined.

    Returns:
        How many features it takes.

    Raises:
        FormatError: it is none, or one that must not be loaded; the tree is named.
    """
    handle.seek(0)
    if handle.read(len(START)) != START:
        raise FormatError("it is no LightGBM model in text")
    header = _header(handle)
    features = _number(header, "max_feature_idx", 0, MAX_FEATURES - 1) + 1
    sizes = _sizes(header)
    _check_classes(header, len(sizes))
    for number, size in enumerate(sizes):
        block = handle.read(size)
        if len(block) < size:
            raise FormatError("it is a LightGBM model that is cut off")
        try:
            _check_tree(_fields(block, number), features)
        except FormatError as error:
            raise FormatError(f"its tree {number} is not one that LightGBM writes: {error.message}") from None
    if handle.read(len(END)) != END:
        raise FormatError("it is a LightGBM model that is cut off, or tree_sizes does not fit its trees")
    return features


def _header(handle: BinaryIO) -> dict[str, str]:
    """The lines up to the first tree; the position is then the first tree's."""
    found: dict[str, str] = {}
    for _ in range(_MAX_HEADER_LINES):
        line = handle.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise FormatError("it is a LightGBM model that is cut off")
        if line == b"\n":
            break
        name, _, value = _text(line[:-1]).partition("=")
        if name in found or name == "Tree":
            raise FormatError(f"its header gives {name!r} twice, or out of place")
        found[name] = value
    else:
        raise FormatError("its header has too many lines")
    if found.get("version") not in _VERSIONS:
        raise FormatError(f"it is no LightGBM model of version {' or '.join(_VERSIONS)}")
    return found


def _sizes(header: dict[str, str]) -> list[int]:
    sizes = _wholes(header, "tree_sizes")
    if not 1 <= sizes.size <= MAX_TREES:
        raise FormatError(f"it holds {sizes.size} trees; 1 to {MAX_TREES} are allowed")
    if sizes.min() < 1 or sizes.max() > _MAX_TREE_BYTES:
        raise FormatError(f"tree_sizes must lie in 1..{_MAX_TREE_BYTES}")
    listed: list[int] = sizes.tolist()
    return listed


def _check_classes(header: dict[str, str], trees: int) -> None:
    """The library sizes its answers by `num_class`, and fills them by objective and trees of an iteration."""
    classes = _number(header, "num_class", 1, MAX_TREES)
    if _number(header, "num_tree_per_iteration", 1, MAX_TREES) != classes or trees % classes:
        raise FormatError("num_class, num_tree_per_iteration and the number of trees do not agree")
    if "objective" not in header:
        return
    name, *options = header["objective"].split(" ")
    if name in _MANY_CLASSES:
        if [option for option in options if option.startswith("num_class:")] != [f"num_class:{classes}"]:
            raise FormatError("the objective's num_class and that of the model do not agree")
    elif name not in _ONE_VALUE:
        raise FormatError("its objective is not known")
    elif classes != 1:
        raise FormatError(f"a model for {name} has one tree an iteration")


def _fields(block: bytes, number: int) -> dict[str, str]:
    """The lines of one tree."""
    first, *lines = _text(block).rstrip("\n").split("\n")
    if first != f"Tree={number}" or not block.endswith(b"\n\n"):
        raise FormatError("tree_sizes does not fit the trees")
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or name not in _TREE_NAMES or name in found:
            raise FormatError("a line of it is not known, or comes twice")
        found[name] = value
    return found


def _check_tree(fields: dict[str, str], features: int) -> None:
    leaves = _number(fields, "num_leaves", 1, MAX_LEAVES)
    linear = "is_linear" in fields and _number(fields, "is_linear", 0, 1) == 1
    _check_lengths(fields, leaves)
    categories = _categories(fields)
    if leaves > 1:
        _check_splits(fields, leaves, features, categories)
    if linear:
        _check_linear(fields, leaves, features)


def _check_lengths(fields: dict[str, str], leaves: int) -> None:
    if "leaf_value" not in fields or (leaves > 1 and not fields.keys() >= set(_SPLITS)):
        raise FormatError("a line is missing")
    for name, value in fields.items():
        wanted = leaves - 1 if name in _PER_SPLIT else leaves if name in _PER_LEAF else None
        # A tree of one leaf is written without the leaf's weight.
        empty = leaves == 1 and name in ("leaf_weight", "leaf_count") and not value.strip()
        if wanted is not None and not empty and len(value.split()) != wanted:
            raise FormatError(f"{name} has {len(value.split())} values, not {wanted}")


def _categories(fields: dict[str, str]) -> int:
    """How many sets of categories there are."""
    count = _number(fields, "num_cat", 0, MAX_LEAVES)
    if count:
        bounds, words = _wholes(fields, "cat_boundaries"), _wholes(fields, "cat_threshold")
        fits = bounds.size == count + 1 and bounds[0] == 0 and bounds[-1] == words.size
        if not fits or (np.diff(bounds) < 0).any() or (words < 0).any() or (words >= 1 << 32).any():
            raise FormatError("cat_boundaries and cat_threshold do not fit each other")
    return count


def _check_splits(fields: dict[str, str], leaves: int, features: int, categories: int) -> None:
    _within(_wholes(fields, "split_feature"), 0, features, "split_feature")
    decisions = _wholes(fields, "decision_type")
    _within(decisions, 0, _DECISIONS, "decision_type")
    thresholds = fields["threshold"].split()
    for place in np.flatnonzero(decisions & _CATEGORICAL):
        if not (_WHOLE.fullmatch(thresholds[place]) and 0 <= int(thresholds[place]) < categories):
            raise FormatError("the threshold of a categorical split names no set of categories")
    children = np.stack([_wholes(fields, "left_child"), _wholes(fields, "right_child")])
    _within(children, -leaves, leaves - 1, "left_child and right_child")
    # As many children as there are nodes beside the root, none twice and none of them the root: each comes just once.
    if np.unique(children).size < children.size or (children == 0).any():
        raise FormatError("a node has two parents")
    _check_reached(children, leaves)


def _check_reached(children: _Whole, leaves: int) -> None:
    """From the root, level by level: what goes in a circle beside the tree is never reached."""
    level, seen = np.zeros(1, np.int64), 0
    for _ in range(MAX_DEPTH):
        below = children[:, level].ravel()
        seen += level.size
        level = below[below >= 0]
        if not level.size:
            break
    else:
        raise FormatError(f"it is deeper than {MAX_DEPTH}")
    if seen != leaves - 1:
        raise FormatError("a node cannot be reached from the root")


def _check_linear(fields: dict[str, str], leaves: int, features: int) -> None:
    if not fields.keys() >= {"leaf_const", "num_features", "leaf_features", "leaf_coeff"}:
        raise FormatError("a line is missing")
    counts, used = _wholes(fields, "num_features"), _wholes(fields, "leaf_features")
    _within(counts, 0, features + 1, "num_features")
    _within(used, 0, features, "leaf_features")
    if counts.size != leaves or counts.sum() != used.size or len(fields["leaf_coeff"].split()) != used.size:
        raise FormatError("num_features, leaf_features and leaf_coeff do not fit each other")


def _within(values: _Whole, first: int, end: int, name: str) -> None:
    if values.size and not (first <= values.min() and values.max() < end):
        raise FormatError(f"{name} must lie in {first}..{end - 1}")


def _number(fields: dict[str, str], name: str, least: int, most: int) -> int:
    value = fields.get(name, "")
    if not _WHOLE.fullmatch(value) or not least <= int(value) <= most:
        raise FormatError(f"{name} must be a whole number in {least}..{most}")
    return int(value)


def _wholes(fields: dict[str, str], name: str) -> _Whole:
    values = fields.get(name, "").split()
    if not all(map(_WHOLE.fullmatch, values)):
        raise FormatError(f"{name} must be whole numbers")
    return np.array(values, dtype=np.int64)


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise FormatError("it is not text (UTF-8)") from None
    if "\r" in text or "\0" in text:
        raise FormatError("it holds a character that LightGBM does not write there")
    return text

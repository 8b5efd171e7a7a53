"""Where a version comes from and what was made of it: versions, data sets, commits and constitutions as one graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from acgs.registry.catalogue import Summary
from acgs.registry.model_version import VersionFacts

NodeKind = Literal["version", "data", "commit", "constitution"]
Relation = Literal["parent", "base", "data", "commit", "constitution"]

_SHAPES: dict[NodeKind, str] = {"version": "box", "data": "cylinder", "commit": "note", "constitution": "octagon"}
_SHORT_DIGITS = 12


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """One thing; `identity` is unique within its kind, `label` is for people."""

    kind: NodeKind
    identity: str
    label: str


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """`source` was made from, under or by `target`; both are identities with their kind, as in `version:a@1.0.0`."""

    source: str
    target: str
    relation: Relation


@dataclass(frozen=True, slots=True)
class Lineage:
    """A graph, sorted, so that the same history is written the same way."""

    of: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {"of": self.of, "nodes": [asdict(node) for node in self.nodes], "edges": [asdict(e) for e in self.edges]}

    def as_dot(self) -> str:
        """The graph in Graphviz' language."""
        lines = ["digraph lineage {", "  rankdir=BT;"]
        for node in self.nodes:
            mark = ", style=bold" if node.identity == self.of else ""
            name = _quoted(f"{node.kind}:{node.identity}")
            lines.append(f"  {name} [label={_quoted(node.label)}, shape={_SHAPES[node.kind]}{mark}];")
        lines += [f"  {_quoted(e.source)} -> {_quoted(e.target)} [label={_quoted(e.relation)}];" for e in self.edges]
        return "\n".join([*lines, "}"]) + "\n"


def trace(reference: str, versions: Iterable[Summary], facts_of: Callable[[str], VersionFacts]) -> Lineage:
    """Everything a version descends from, and everything that descends from it.

    Args:
        reference: `name@version`.
        versions: all there are.
        facts_of: the facts of a reference; asked only for versions that belong to the graph.
    """
    ancestors: dict[str, list[str]] = {}
    descendants: dict[str, list[str]] = {}
    for line in versions:
        parent = f"{line.name}@{line.parent}" if line.parent else None
        ancestors[line.reference] = [found for found in (parent, line.base) if found]
        for found in ancestors[line.reference]:
            descendants.setdefault(found, []).append(line.reference)
    members = _reach(reference, ancestors) | _reach(reference, descendants)
    nodes: set[Node] = set()
    edges: set[Edge] = set()
    for member in members:
        if member not in ancestors:
            nodes.add(Node("version", member, f"{member} (unknown)"))
            continue
        _describe(facts_of(member), nodes, edges)
    known = {f"{node.kind}:{node.identity}" for node in nodes}
    return Lineage(reference, tuple(sorted(nodes)), tuple(sorted(edge for edge in edges if edge.target in known)))


def _describe(facts: VersionFacts, nodes: set[Node], edges: set[Edge]) -> None:
    here = f"version:{facts.reference}"

    def add(kind: NodeKind, identity: str, label: str, relation: Relation) -> None:
        nodes.add(Node(kind, identity, label))
        edges.add(Edge(here, f"{kind}:{identity}", relation))

    nodes.add(Node("version", facts.reference, facts.reference))
    for source in facts.data:
        add("data", source.digest, f"{source.name} {source.digest[:_SHORT_DIGITS]}", "data")
    if facts.code.commit:
        mark = " with changes" if facts.code.dirty else ""
        add("commit", facts.code.commit, facts.code.commit[:_SHORT_DIGITS] + mark, "commit")
    add("constitution", facts.constitution_digest, facts.constitutional_hash, "constitution")
    if facts.parent:
        edges.add(Edge(here, f"version:{facts.name}@{facts.parent}", "parent"))
    if facts.base:
        edges.add(Edge(here, f"version:{facts.base}", "base"))


def _reach(start: str, following: dict[str, list[str]]) -> set[str]:
    seen, waiting = {start}, [start]
    while waiting:
        for found in following.get(waiting.pop(), ()):
            if found not in seen:
                seen.add(found)
                waiting.append(found)
    return seen


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

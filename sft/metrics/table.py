"""TEDS and TEDS-S: how alike two tables are, as trees.

Source: Zhong et al., Image-based table recognition: data, model, and evaluation (ECCV 2020): 1 - d / max(n), with d the
tree edit distance (insertions and deletions cost 1; a cell of another span costs 1, one of another text its normalised
edit distance) and n the number of nodes below the table's root. TEDS-S compares the structure alone (Huang et al.,
2023). The distance is computed by APTED (Pawlik and Augsten, 2016) through the package apted. Version 1.

Example: "<fcel>a<fcel>b<nl>" against "<fcel>a<fcel>x<nl>": three nodes (a row, two cells), one text wholly wrong: 2/3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apted import APTED, Config

from sft import otsl
from sft.metrics.text import ned, normalise


@dataclass
class Node:
    """A node of the table's tree; ``label`` is its tag and its spans, ``text`` a cell's content."""

    label: tuple[str, int, int]
    text: str = ""
    children: list[Node] = field(default_factory=list)


class _Costs(Config):  # type: ignore[misc]
    def rename(self, a: Node, b: Node) -> float:
        if a.label != b.label:
            return 1.0
        return ned(a.text, b.text) if a.text != b.text else 0.0

    def children(self, node: Node) -> list[Node]:
        return node.children


def tree(text: str, *, structure_only: bool = False) -> Node:
    """The tree of a table in OTSL: the root, a node for each line, below it a node for each cell."""
    rows = []
    for line in otsl.cells(text):
        cells = [Node(("td", c.rows, c.columns), "" if structure_only else normalise(c.text)) for c in line]
        rows.append(Node(("tr", 1, 1), children=cells))
    return Node(("table", 1, 1), children=rows)


def size(node: Node) -> int:
    """Nodes below this one."""
    return sum(1 + size(child) for child in node.children)


def teds(truth: str, recognised: str, *, structure_only: bool = False) -> float:
    """Similarity of two tables in OTSL, between 0 and 1 (equal). A text that is no table is 0 against any table.

    Where more must be changed than the larger table has nodes, the formula falls below 0: such tables are 0 here.
    """
    wanted, found = (tree(text, structure_only=structure_only) for text in (truth, recognised))
    if wanted == found:
        return 1.0
    nodes = max(size(wanted), size(found))
    if not wanted.children or not found.children:
        return 0.0
    cost = float(APTED(wanted, found, _Costs()).compute_edit_distance())
    return max(0.0, 1.0 - cost / nodes)

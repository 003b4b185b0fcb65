"""TEDS and TEDS-S: how alike two tables are, as trees. Version 2.

Source: Zhong et al., Image-based table recognition: data, model, and evaluation (ECCV 2020): 1 - d / max(n), with d the
tree edit distance (insertions and deletions cost 1; a cell of another span costs 1, one of another text its normalised
edit distance) and n the number of nodes below the table's root. TEDS-S compares the structure alone (Huang et al.,
2023).

The distance is the one of Zhang and Shasha (1989), for the only shape that a table has: a root, lines, cells. So each
pair of cells is compared once, each pair of lines is an alignment of their cells, and the rest is one programme over
the nodes of both tables, row by row in numpy: 720 cells against 708 take a twentieth of a second, where APTED (package
apted, in Python) takes 42. Tests compare with both.

Example: "<fcel>a<fcel>b<nl>" against "<fcel>a<fcel>x<nl>": three nodes (a row, two cells), one text wholly wrong: 2/3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sft.metrics.text import normalise
from sft.notation import otsl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

PAIRS = 2**24  # of nodes (4096 against 4096): what is larger is cut, and what is cut off counts as wrong

Cell = tuple[int, int, str]  # lines and columns that it covers, text
Table = list[list[Cell]]


def table(text: str, *, structure_only: bool = False) -> Table:
    """The cells that begin in each line of a table in OTSL."""
    return [
        [(cell.rows, cell.columns, "" if structure_only else normalise(cell.text)) for cell in line]
        for line in otsl.cells(text)
    ]


def size(lines: Table) -> int:
    """Nodes below the root: lines and cells."""
    return len(lines) + sum(map(len, lines))


def teds(truth: str, recognised: str, *, structure_only: bool = False) -> float:
    """Similarity of two tables in OTSL, 0 to 1 (equal). A text without a cell in OTSL is 0 against anything.

    Where more must be changed than the larger table has nodes, the formula falls below 0: such tables are 0 here.
    """
    if otsl.unreadable(truth) or otsl.unreadable(recognised):
        return 0.0
    wanted, found = (table(text, structure_only=structure_only) for text in (truth, recognised))
    return 1.0 if wanted == found else max(0.0, 1.0 - edits(wanted, found) / max(size(wanted), size(found)))


def edits(a: Table, b: Table) -> float:
    """The tree edit distance of two tables; an upper bound of it where they have more than PAIRS pairs of nodes."""
    few, many = sorted((a, b), key=size)
    few_cut = _cut(few, int(PAIRS**0.5))
    many_cut = _cut(many, PAIRS // max(size(few_cut), 1))
    rest = size(few) - size(few_cut) + size(many) - size(many_cut)
    return _distance(few_cut, _Nodes.of(many_cut)) + rest


def _cut(lines: Table, nodes: int) -> Table:
    """The first lines and cells, so many nodes at most."""
    if size(lines) <= nodes:
        return lines
    kept: Table = []
    for line in lines:
        if nodes < 2:
            break
        kept.append(line[: nodes - 1])
        nodes -= 1 + len(kept[-1])
    return kept


@dataclass(frozen=True)
class _Nodes:
    """A table's n nodes in post-order: each line's cells, then the line.

    Attributes:
        spans, texts: of the cells, shape (cells,): a number for each span, one for each text of ``words``.
        cells, lines: numbers of the nodes that are cells, lines.
        start: for each node, how many nodes stand before its subtree.
        within: for each node its place in its line, from 0; a line has the last.
    """

    cells: Counts
    lines: Counts
    start: Counts
    within: Counts
    spans: Counts
    texts: Counts
    words: list[str]

    @classmethod
    def of(cls, table: Table) -> _Nodes:
        import numpy as np

        widths = np.array([len(line) for line in table], np.int64)
        ends = np.cumsum(widths + 1)
        firsts = np.repeat(ends - widths - 1, widths + 1)
        numbers = np.arange(len(firsts))
        is_line = np.zeros(len(numbers), bool)
        is_line[ends - 1] = True
        words = {text: i for i, text in enumerate(dict.fromkeys(text for line in table for _, _, text in line))}
        return cls(
            cells=np.flatnonzero(~is_line),
            lines=ends - 1,
            start=np.where(is_line, firsts, numbers),
            within=numbers - firsts,
            spans=_spans(cell for line in table for cell in line),
            texts=np.array([words[text] for line in table for _, _, text in line], np.int64),
            words=list(words),
        )

    def renamed(self, line: list[Cell]) -> Floats:
        """What it costs to make each of the line's cells each cell here, shape (cells of the line, cells)."""
        import numpy as np
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cdist

        texts = [text for _, _, text in line]
        if not line or not len(self.cells):
            return np.zeros((len(line), len(self.cells)))
        away = cdist(texts, self.words, scorer=Levenshtein.normalized_distance, dtype=np.float64)
        return np.where(_spans(line)[:, None] == self.spans, away[:, self.texts], 1.0)


def _spans(cells: Iterable[Cell]) -> Counts:
    import numpy as np

    return np.array([(rows << 32) + columns for rows, columns, _ in cells], np.int64)


def _distance(a: Table, b: _Nodes) -> float:
    """Zhang and Shasha's programme over the forests of lines: the roots, alike and of equal cost, are matched."""
    import numpy as np

    nodes = len(b.within)
    steps = np.arange(nodes + 1.0)
    size_of_line = b.within[b.lines]  # cells
    last = steps.copy()  # distances of what has been seen of a to the first 0, 1, … nodes of b
    seen = 0
    for line in a:
        before = last
        costs = b.renamed(line)
        aligned = _aligned(costs, b)
        tree = np.empty(nodes)  # distances of one subtree of a to each subtree of b
        for cost in costs:
            seen += 1
            tree[b.cells] = cost
            tree[b.lines] = size_of_line + _least(cost, b)
            last = _step(last, last, tree, b, steps, seen)
        seen += 1
        tree[b.cells] = len(line) + costs.min(axis=0) if len(line) else 1.0
        tree[b.lines] = aligned
        last = _step(last, before, tree, b, steps, seen)
    return float(last[-1])


def _step(last: Floats, before: Floats, tree: Floats, b: _Nodes, steps: Floats, seen: int) -> Floats:
    """The distances with one node of a more: it is deleted, or its subtree becomes one of b, or b's node is inserted.

    Args:
        last: without the node. before: without its subtree.
        tree: distances of its subtree to each of b's.
    """
    import numpy as np

    new = np.empty(len(last))
    new[0] = seen
    np.minimum(last[1:] + 1, before[b.start] + tree, out=new[1:])
    return _inserted(new, steps)


def _inserted(costs: Floats, steps: Floats) -> Floats:
    """Each place may also be reached from one before it, at 1 for each step."""
    import numpy as np

    found: Floats = np.minimum.accumulate(costs - steps) + steps
    return found


def _least(cost: Floats, b: _Nodes) -> Floats:
    """What a single cell costs against each line of b, beyond its other nodes: its nearest cell; alone, the line."""
    import numpy as np

    renamed = np.ones(len(b.within))
    renamed[b.cells] = cost
    least: Floats = np.minimum.reduceat(renamed, b.lines - b.within[b.lines])
    return least


def _aligned(costs: Floats, b: _Nodes) -> Floats:
    """Distance of a line to each line of b, shape (lines of b,): their cells' alignments, all at once.

    The alignments stand one behind the other, each with a place before its first cell. A growing amount is taken off
    each, so that none is reached from the one before it.
    """
    import numpy as np

    far = int(b.within.max(initial=0)) + len(costs) + 1
    firsts = b.lines - b.within[b.lines]
    number = np.zeros(len(b.within))
    number[firsts[1:]] = 1
    steps = b.within + far * np.cumsum(number)
    last = b.within.astype(np.float64)
    for seen, cost in enumerate(costs, 1):
        new = last + 1
        new[b.cells + 1] = np.minimum(new[b.cells + 1], last[b.cells] + cost)
        new[firsts] = seen
        last = _inserted(new, steps)
    return last[b.lines]

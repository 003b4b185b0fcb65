"""Charts: relative mapping similarity of the tables behind them. Version 2.

Source: Liu et al., DePlot: One-shot visual language reasoning by plot-to-table translation (ACL Findings 2023), section
3.2, with the thresholds of its published code: a table is a list of (row and column header, value); headers are matched
so that their normalised edit distances are least in all (0.5 and more counts as 1), values count by their relative
error (0.1 and more counts as 1), texts by their edit distance. F1 of precision and recall; the better one of the
recognised table and its transpose counts. Other than in that code, equal headers do not overwrite each other, and of
matchings of equally near headers the one with the nearest values counts. No score without a table to compare with.

Example: "x | y\\na | 10\\nb | 20" against the same with 21 instead of 20: the second value is wrong by 5 %, so that
precision and recall are (1 + 0.95) / 2 = 0.975.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from sft.notation import pipes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TEXT = 0.5  # normalised edit distance from which texts count as different
NUMBER = 0.1  # relative error from which numbers count as different
PAIRS = 2**21  # of points: of larger tables only the first points are matched, the others count as wrong
_TIE = 1e-6  # by how much nearer values decide between equally near headers

Points = list[tuple[str, str]]


def points(table: list[list[str]]) -> Points:
    """(row header and column header, value) of each cell; the first line and the first column are the headers."""
    lines = list(zip(*zip_longest(*table, fillvalue="")))  # as wide as the widest: no value goes unseen
    if len(lines) < 2 or len(lines[0]) < 2:
        return []
    return [(f"{line[0]} {name}", value) for line in lines[1:] for name, value in zip(lines[0][1:], line[1:])]


def parse(text: str) -> list[list[str]]:
    """The table of a text (see :func:`sft.notation.pipes.parse`); case does not count."""
    return pipes.parse(text.lower())


def rms_f1(truth: str, recognised: str) -> float:
    """Similarity of two tables, 0 to 1 (all values at their headers). What is no table is 0 against anything."""
    if pipes.unreadable(truth) or pipes.unreadable(recognised):
        return 0.0
    wanted, found = parse(truth), parse(recognised)
    if wanted == found:
        return 1.0
    turned = [list(line) for line in zip_longest(*found, fillvalue="")]
    return max(_f1(points(wanted), points(found)), _f1(points(wanted), points(turned)))


def _f1(wanted: Points, found: Points) -> float:
    if not found:
        return 0.0
    from scipy.optimize import linear_sum_assignment

    few = min(len(wanted), len(found))
    many = max(PAIRS // min(few, int(PAIRS**0.5)), int(PAIRS**0.5))
    few_wanted, few_found = wanted[:many], found[:many]
    headers = _alike([header for header, _ in few_wanted], [header for header, _ in few_found])
    worth = headers * _values([value for _, value in few_wanted], [value for _, value in few_found])
    rows, columns = linear_sum_assignment(1 - headers - _TIE * worth)
    score = float(worth[rows, columns].sum())
    precision, recall = score / len(found), score / len(wanted)
    return min(1.0, 2 * precision * recall / (precision + recall)) if score else 0.0


def _alike(a: Sequence[str], b: Sequence[str]) -> Floats:
    """1 - normalised edit distance of each pair, shape (len(a), len(b)); 0 from TEXT on."""
    import numpy as np
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    away = cdist(a, b, scorer=Levenshtein.normalized_distance, dtype=np.float64)
    return np.where(away < TEXT, 1 - away, 0.0)


def _values(wanted: Sequence[str], found: Sequence[str]) -> Floats:
    """What each pair of values is worth: equal 1, numbers by their relative error, others by their edit distance."""
    import numpy as np

    truths, values = (np.array([_number(text) for text in side]) for side in (wanted, found))
    with np.errstate(all="ignore"):  # 0, infinity and what is no number are decided below
        error = np.abs((truths[:, None] - values) / truths[:, None])
    numbers = np.isfinite(truths)[:, None] & (truths != 0)[:, None] & np.isfinite(values)
    near = np.where(error < NUMBER, 1 - error, 0.0)
    equal = (np.array(wanted, object)[:, None] == np.array(found, object)) | (truths[:, None] == values)
    worth: Floats = np.where(equal, 1.0, np.where(numbers, near, _alike(wanted, found)))
    return worth


def _number(text: str) -> float:
    """The number that a value is, or NaN."""
    plain = text.replace(",", "").replace("−", "-").strip()
    try:
        return float(plain.rstrip("%")) / (100 if plain.endswith("%") else 1)
    except ValueError:
        return float("nan")

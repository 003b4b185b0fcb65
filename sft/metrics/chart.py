"""Charts: relative mapping similarity of the tables behind them. Version 1.

Source: Liu et al., DePlot: One-shot visual language reasoning by plot-to-table translation (ACL Findings 2023), section
3.2, with the thresholds of its published code: a table is a set of (row and column header, value); headers are matched
so that their normalised edit distances are least in all (0.5 and more counts as 1), values count by their relative
error (0.1 and more counts as 1), texts by their edit distance. F1 of precision and recall; the better one of the
recognised table and its transpose counts.

Example: "x | y\\na | 10\\nb | 20" against the same with 21 instead of 20: the second value is wrong by 5 %, so that
precision and recall are (1 + 0.95) / 2 = 0.975.
"""

from __future__ import annotations

from itertools import zip_longest

from sft.metrics.text import ned

TEXT = 0.5  # normalised edit distance from which texts count as different
NUMBER = 0.1  # relative error from which numbers count as different

Points = list[tuple[str, str]]


def points(table: list[list[str]]) -> Points:
    """(row header and column header, value) of each cell; the first line and the first column are the headers."""
    if len(table) < 2 or len(table[0]) < 2:
        return []
    header = table[0]
    found = {f"{line[0]} {name}": value for line in table[1:] for name, value in zip(header[1:], line[1:])}
    return list(found.items())


def parse(text: str) -> list[list[str]]:
    """Lines of cells between ``|``; Markdown's rule below the header is left out."""
    lines = [line.strip().strip("|").split("|") for line in text.lower().splitlines() if line.strip()]
    table = [[cell.strip() for cell in line] for line in lines]
    return [line for line in table if not all(set(cell) <= set("-: ") and cell for cell in line)]


def rms_f1(truth: str, recognised: str) -> float:
    """Similarity of two tables, between 0 and 1 (all values at their headers)."""
    wanted, found = parse(truth), parse(recognised)
    if not points(wanted):  # no table to compare with
        return float(wanted == found)
    turned = [list(line) for line in zip_longest(*found, fillvalue="")]
    return max(_f1(points(wanted), points(found)), _f1(points(wanted), points(turned)))


def _f1(wanted: Points, found: Points) -> float:
    if not found:
        return 0.0
    from scipy.optimize import linear_sum_assignment

    costs = [[1 - _alike(a, b) for b, _ in found] for a, _ in wanted]
    rows, columns = linear_sum_assignment(costs)
    score = sum(_point(wanted[row], found[column]) for row, column in zip(rows, columns))
    precision, recall = score / len(found), score / len(wanted)
    return 2 * precision * recall / (precision + recall) if score else 0.0


def _alike(a: str, b: str) -> float:
    away = ned(a, b)
    return 1 - away if away < TEXT else 0.0


def _point(wanted: tuple[str, str], found: tuple[str, str]) -> float:
    header = _alike(wanted[0], found[0])
    truth, value = _number(wanted[1]), _number(found[1])
    if truth and value is not None:
        error = abs((truth - value) / truth)
        return header * (1 - error if error < NUMBER else 0.0)
    return header * (1.0 if wanted[1] == found[1] else _alike(wanted[1], found[1]))


def _number(text: str) -> float | None:
    plain = text.replace(",", "").strip()
    try:
        return float(plain.rstrip("%")) / (100 if plain.endswith("%") else 1)
    except ValueError:
        return None

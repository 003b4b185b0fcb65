"""Spotting: texts matched by their places, then compared. Version 1.

Source: the end-to-end measure 1-N.E.D. of ICDAR 2019 LSVT and ArT (Sun et al., ICDAR 2019 Competition on Large-scale
Street View Text with Partial Labeling, section IV): a text of the answer belongs to one of the truth where their
quadrilaterals overlap by half (intersection over union ≥ 0.5), one to one; each pair has the normalised edit distance
of its texts, each text without a partner, on either side, counts 1; the error is the mean over pairs and single texts.
Partners are chosen so that the sum of the overlaps is greatest (there: the first that overlaps). The F1 of the boxes
is that of the pairs alone, whatever the texts say.

Example: truth "Total" and "12.50" at two places, answer "Total" at its place and "12.5O" at a place of its own: one
pair with distance 0 and two single texts: error 2/3, F1 of the boxes 2 · 1 / (2 + 2) = 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from sft.metrics.text import ned, normalise
from sft.notation import spotting
from sft.notation.spotting import Spot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

OVERLAP = 0.5  # intersection over union from which two places are one
MOST = 2000  # texts of an answer that are matched; more count as wrong


def error(truth: str, recognised: str) -> float:
    """The mean over pairs and single texts, 0 (all right) to 1; 1 for a truth that cannot be read."""
    if spotting.unreadable(truth):
        return 1.0
    wanted, found, pairs = _compared(truth, recognised)
    distances = sum(ned(normalise(wanted[i].text), normalise(found[j].text)) for i, j in pairs)
    single = len(wanted) + len(found) - 2 * len(pairs)
    return (distances + single) / (len(pairs) + single)


def boxes_f1(truth: str, recognised: str) -> float:
    """F1 of the places alone, 0 to 1 (each has its partner); 0 for a truth that cannot be read."""
    if spotting.unreadable(truth):
        return 0.0
    wanted, found, pairs = _compared(truth, recognised)
    return 2 * len(pairs) / (len(wanted) + len(found))


@lru_cache(maxsize=1)  # both scores are asked for one after the other, and matching is the dear part
def _compared(truth: str, recognised: str) -> tuple[list[Spot], list[Spot], list[tuple[int, int]]]:
    wanted, found = spotting.parse(truth), spotting.parse(recognised)
    return wanted, found, matched(wanted, found)


def matched(wanted: Sequence[Spot], found: Sequence[Spot]) -> list[tuple[int, int]]:
    """Pairs (number in ``wanted``, number in ``found``) of texts at one place."""
    ours = [i for i, spot in enumerate(wanted) if spot.box][:MOST]
    theirs = [j for j, spot in enumerate(found) if spot.box][:MOST]
    if not ours or not theirs:
        return []
    from scipy.optimize import linear_sum_assignment

    overlaps = _overlaps([wanted[i].box for i in ours], [found[j].box for j in theirs])
    overlaps[overlaps < OVERLAP] = 0
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return [(ours[i], theirs[j]) for i, j in zip(rows.tolist(), columns.tolist()) if overlaps[i, j] > 0]


def _overlaps(a: Sequence[tuple[int, ...]], b: Sequence[tuple[int, ...]]) -> Floats:
    """Intersection over union of each pair of quadrilaterals, shape (len(a), len(b)).

    Corners in a wrong order make a place that crosses itself; it is taken as the area that its outline encloses.
    """
    import numpy as np
    import shapely

    first, second = (_places(np.array(side, np.float64).reshape(-1, 4, 2)) for side in (a, b))
    shared = shapely.area(shapely.intersection(first[:, None], second[None, :]))
    union = shapely.area(first)[:, None] + shapely.area(second)[None, :] - shared
    overlaps: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlaps


def _places(corners: Floats) -> NDArray[np.object_]:
    import shapely

    places: NDArray[np.object_] = shapely.make_valid(shapely.polygons(corners))
    return places

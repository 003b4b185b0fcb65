"""An error that falls with the number of rows as a power law, error = a · rows^−b, and what it comes to with more rows.

Fitted in logarithms by weighted least squares; an error's own uncertainty is that of its bootstrap interval. Intervals
of what is expected are from draws of the errors within theirs. Hestness et al. (2017, "Deep learning scaling is
predictable, empirically") found such curves for many tasks; nothing says that yours is one, so the fit is tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS, SEED = 2000, 7
LEAST = 1e-4  # an error below it counts as this: its logarithm says nothing
INTERVAL = 3.92  # a 95 % interval is so many standard deviations wide


@dataclass(frozen=True)
class Measured:
    """The ``error`` with so many ``rows``; ``low`` and ``high`` are its 95 % interval."""

    rows: int
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Expected:
    """What is expected with so many ``rows``: the error and its 95 % interval."""

    rows: int
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class PowerLaw:
    """``exponent`` is b, with its 95 % interval; ``holds``: do the errors lie as far from the curve as their own
    uncertainty explains (χ², 95 %)?
    """

    factor: float
    exponent: float
    low: float
    high: float
    holds: bool
    draws: tuple[tuple[float, float], ...]

    def at(self, rows: int) -> Expected:
        """What is expected with so many rows."""
        drawn = sorted(factor * rows**-exponent for factor, exponent in self.draws)
        low, high = drawn[round(0.025 * (len(drawn) - 1))], drawn[round(0.975 * (len(drawn) - 1))]
        return Expected(rows, self.factor * rows**-self.exponent, low, high)

    @property
    def doubling(self) -> tuple[float, float, float]:
        """By what share the error falls with twice the rows, and its interval: 0.2 is a fifth."""
        by, low, high = (1 - 2.0**-exponent for exponent in (self.exponent, self.low, self.high))
        return by, low, high


def fit(points: Sequence[Measured]) -> PowerLaw:
    """The power law through three points or more, of different numbers of rows.

    Raises:
        ValueError: there are fewer.
    """
    import numpy as np
    from scipy.stats import chi2

    if len({point.rows for point in points}) < 3:
        raise ValueError("a power law needs three points")
    x = np.log([point.rows for point in points])
    errors = np.maximum([point.error for point in points], LEAST)
    wide = np.array([max(point.high - point.low, LEAST) / INTERVAL for point in points])
    deviation = np.maximum(wide / errors, 1e-3)  # of the logarithm
    y = np.log(errors)

    def line(values: NDArray[np.float64]) -> tuple[float, float]:
        slope, intercept = np.polyfit(x, values, 1, w=1 / deviation)
        return math.exp(float(intercept)), -float(slope)

    factor, exponent = line(y)
    rng = np.random.default_rng(SEED)
    draws = tuple(line(y + rng.normal(0, deviation)) for _ in range(DRAWS))
    exponents = np.array([drawn for _, drawn in draws])
    distance = (y - (math.log(factor) - exponent * x)) / deviation
    holds = float((distance**2).sum()) <= float(chi2.ppf(0.95, len(points) - 2))
    low, high = (float(q) for q in np.quantile(exponents, [0.025, 0.975]))
    return PowerLaw(factor, exponent, low, high, holds, draws)

"""How fast are error rates computed, against bare rapidfuzz distances of the same pairs?"""

from __future__ import annotations

import random
from collections.abc import Iterator

from rapidfuzz.distance import Levenshtein

from benchmarks.harness import Figure, seconds
from sft import metrics

PAIRS = 20_000
LENGTH = 100  # characters


def figures() -> Iterator[Figure]:
    """Pairs of 100 characters with 10 % errors; all of CER, WER, NED and exact match, normalisation included."""
    rng = random.Random(1)
    truths = ["".join(rng.choices("abcdefghij klmno", k=LENGTH)) for _ in range(PAIRS)]
    pairs = [(t, "".join(c if rng.random() > 0.1 else "x" for c in t)) for t in truths]
    ours = PAIRS / seconds(lambda: metrics.score(pairs))
    bare = PAIRS / seconds(lambda: [Levenshtein.distance(a, b) for a, b in pairs])
    yield Figure("error rates", ours, bare, "pairs/s (bare distances)", "none yet", True)

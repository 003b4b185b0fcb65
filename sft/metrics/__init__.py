"""How well texts were recognised. Each measure states its version, source and a worked example where it is defined.

text: CER, WER, normalised edit distance, exact match · table: TEDS, TEDS-S · formula: edit distance of normalised LaTeX
· chart: relative mapping similarity · spotting: 1-N.E.D. and F1 of the boxes · fields: F1 of JSON · scores: totals,
bootstrap intervals, paired differences · groups: by task, script and length.
"""

from sft.metrics.groups import length, rows_of
from sft.metrics.judged import UNREADABLE, Judged, judge
from sft.metrics.scores import METRICS, Difference, Scores, differences, summarise
from sft.metrics.text import Normalisation, distance, ned, normalise
from sft.notation.scripts import script

VERSION = 5  # of all measures together: another version evaluates again

__all__ = [
    "METRICS",
    "UNREADABLE",
    "VERSION",
    "Difference",
    "Judged",
    "Normalisation",
    "Scores",
    "differences",
    "distance",
    "judge",
    "length",
    "ned",
    "normalise",
    "rows_of",
    "script",
    "summarise",
]

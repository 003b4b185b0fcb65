"""The parts of a training set that a curve is drawn through, where nobody says others."""

from __future__ import annotations

PARTS = (0.125, 0.25, 0.5, 1.0)  # of the documents
TYPED = ",".join(f"{part:g}" for part in PARTS)

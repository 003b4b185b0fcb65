"""How often the same held-out rows have decided: whoever asks them often enough is promoted by chance.

A gate that asks for a share ``c`` of the bootstrap draws lets a candidate that is no better pass with a chance of about
1 − c; of ``n`` such candidates at least one passes with 1 − cⁿ (0.95: 23 % of five, 64 % of twenty). Bonferroni's
correction asks each for 1 − (1 − c)/n instead (Dunn, 1961, "Multiple comparisons among means").

Held-out sets grow, so that rows are the same where most of them are: that is read off the smallest hashes of both sets
(bottom-k sketches; Broder, 1997, "On the resemblance and containment of documents").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sft.store import champions, records

SIZE = 64  # hashes of a sketch: the resemblance is known to about ± 0.12 (two standard errors at one half)
SAME = 0.5  # resemblance (rows in both by rows in either) from which two sets count as the same rows
DOUBTFUL = 0.2  # chance that one that is no better has passed, from which it is said


def sketch(keys: Iterable[str]) -> list[str]:
    """The smallest of the rows' keys, which are hashes."""
    return sorted(set(keys))[:SIZE]


def resemblance(one: Sequence[str], other: Sequence[str]) -> float:
    """Estimated share of the rows in either set that are in both.

    Example: ``resemblance(["a", "b"], ["b", "c"])`` is 1/3.
    """
    union = sorted({*one, *other})[:SIZE]
    both = set(one) & set(other)
    return sum(key in both for key in union) / len(union) if union else 0.0


def judged_before(outputs: Path, name: str, identity: str, rows: Sequence[str]) -> int:
    """How many other trainings of the line ``name`` the gate has decided on by these rows.

    Args:
        identity: of the training that is judged now.
        rows: their sketch.
    """
    found = set()
    for path in (outputs / champions.place(name) / "decisions").glob("*.json"):
        decision = records.read_json(path) or {}
        if decision.get("identity", identity) != identity and resemblance(decision.get("rows", ()), rows) >= SAME:
            found.add(decision["identity"])
    return len(found)


def doubt(before: int, confidence: float) -> str:
    """What has to be said of a decision by rows that have decided so often before; an empty text where it is little.

    Args:
        confidence: share of the draws that the gate asks for.
    """
    count = before + 1
    chance = 1 - confidence**count
    if chance < DOUBTFUL:
        return ""
    needed = 1 - (1 - confidence) / count
    return (
        f"these held-out rows have judged {count} trainings: at least one that is no better passes with a chance of "
        f"{100 * chance:.0f} %; hold out fresh rows, or ask for {100 * needed:.2f} % of the draws (Bonferroni): "
        f"promote.confidence={needed:.4f}"
    )

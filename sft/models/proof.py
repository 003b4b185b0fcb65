"""Does another backend read as PaddleFormers does? Compared on a few rows of a model, before it reads the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sft import metrics
from sft.models.questions import Answer
from sft.store.proofs import Differs, Proof

ROWS = 16  # that both read
# On a GPU sums in bfloat16 depend on how rows are batched, so that a rare answer differs; on the CPU none does.
REPRODUCED = {"cpu": 1.0, "gpu": 0.9}  # share of the answers that have to be the same
# Other kernels round otherwise, and one token that falls the other way changes all that follow it in a long answer: on
# a GPU another backend's answer counts as the same where it differs by no more than this (normalised edit distance).
ALIKE = {"cpu": 0.0, "gpu": 0.05}


def proof(
    backend: str,
    device: str,
    kinds: Sequence[str],
    ours: Mapping[str, Answer],
    theirs: Mapping[str, Answer],
) -> Proof:
    """The record of the comparison, without rates and versions.

    Args:
        kinds: of the rows (see :func:`sft.models.held_out.kind_of`).
        ours, theirs: row's key → answer by PaddleFormers, and by the other backend.
    """
    other = [
        Differs(row=row, ours=ours[row].text, theirs=theirs[row].text)
        for row in ours
        if not same(ours[row].text, theirs[row].text, device) or ours[row].cut != theirs[row].cut
    ]
    passed = len(ours) - len(other) >= REPRODUCED[device] * len(ours)
    return Proof(backend=backend, passed=passed, rows=len(ours), differ=len(other), other=other[:3], kinds=list(kinds))


def same(ours: str, theirs: str, device: str) -> bool:
    """Do two backends' answers count as one?"""
    return metrics.ned(ours, theirs) <= ALIKE[device]


def described(found: Proof) -> str:
    """A proof in words: ``0 of 16 answers differ from PaddleFormers'; 451 rows/s against 132``."""
    if "failed" in found:
        return found["failed"]
    said = f"{found['differ']} of {found['rows']} answers differ from PaddleFormers'"
    if found["other"]:
        first = found["other"][0]
        said += f", the first {first['theirs'][:40]!r} instead of {first['ours'][:40]!r}"
    rates = found.get("rates", {})
    if len(rates) == 2:
        theirs = rates[found["backend"]]
        (ours,) = (rate for name, rate in rates.items() if name != found["backend"])
        said += f"; {theirs:.3g} rows/s against {ours:.3g}"
    return said

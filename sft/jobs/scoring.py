"""Scores of several models on the same rows: in all, by task, by script and by length, and their paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sft import metrics
from sft.metrics import Judged, Normalisation
from sft.models.held_out import HeldOutRow
from sft.store.contents import Change, Scored

Table = dict[str, Scored]  # task, script or length → scores
Changes = dict[str, dict[str, Change]]  # task → metric → change


M = TypeVar("M", bound=str)  # what models are called


@dataclass(frozen=True)
class Judgement(Generic[M]):
    """What models said on the same rows, judged.

    Attributes:
        rows, documents: how many were judged, and how many documents they belong to.
        judged: model → its rows' judgements.
        parts: task → its rows; ``all`` are all of them.
        groups: script, length → value → its rows.
    """

    rows: int
    documents: int
    judged: dict[M, Judged]
    parts: dict[str, Sequence[int]]
    groups: dict[str, dict[str, Sequence[int]]]

    def table(self, model: M) -> Table:
        """A model's scores in all and by task, with intervals."""
        return _table(self.judged[model], self.parts, intervals=True)

    def by_group(self) -> dict[str, dict[M, Table]]:
        """script, length → model → its scores by that."""
        return {
            kind: {model: _table(judged, parts, intervals=False) for model, judged in self.judged.items()}
            for kind, parts in self.groups.items()
        }

    def changes(self, model: M, reference: M) -> Changes:
        """``model`` minus ``reference``, in all and by task."""
        ours, theirs = self.judged[model], self.judged[reference]
        return {name: _differences(ours.at(part), theirs.at(part)) for name, part in self.parts.items()}


def judge(
    rows: Sequence[HeldOutRow],
    texts: Mapping[M, Sequence[str]],
    how: Normalisation,
    cut: Mapping[M, Sequence[bool]] | None = None,
) -> Judgement[M]:
    """Judge models' answers.

    Args:
        texts: model → its answers in the order of the rows.
        cut: model → which of them were cut off at the longest allowed; without it none was.
    """
    tasks, truths = [row.task for row in rows], [row.truth for row in rows]
    measures, documents = [row.measure for row in rows], [row.document or str(row.number) for row in rows]
    judged = {
        model: metrics.judge(
            truths, list(said), measures, how, cut=list(cut[model]) if cut else (), documents=documents
        )
        for model, said in texts.items()
    }
    return Judgement(
        rows=len(rows),
        documents=len(set(documents)),
        judged=judged,
        parts={"all": range(len(rows)), **metrics.rows_of(tasks)},
        groups={
            "script": metrics.rows_of(map(metrics.script, truths)),
            "length": metrics.rows_of(map(metrics.length, truths)),
        },
    )


def said_lines(
    rows: Sequence[HeldOutRow], texts: Mapping[M, Sequence[str]], cut: Mapping[M, Sequence[bool]]
) -> Iterable[dict[str, object]]:
    """A line of predictions.jsonl for each row: the row, its truth, each model's answer, and whose was cut off."""
    for i, row in enumerate(rows):
        facts: dict[str, object] = {"row": row.number, "turn": len(row.earlier), "task": row.task, "truth": row.truth}
        yield {**facts, **{model: said[i] for model, said in texts.items()}, "cut": [m for m in texts if cut[m][i]]}


def _table(judged: Judged, parts: Mapping[str, Sequence[int]], *, intervals: bool) -> Table:
    return {name: metrics.summarise(judged.at(part), intervals=intervals).as_dict() for name, part in parts.items()}


def _differences(candidate: Judged, reference: Judged) -> dict[str, Change]:
    return {metric: found.as_dict() for metric, found in metrics.differences(candidate, reference).items()}

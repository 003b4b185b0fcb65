"""What several models said on the same rows, judged: scores in all, by task, script and length, paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from sft import metrics
from sft.metrics import Judged, Normalisation
from sft.models.held_out import HeldOutRow
from sft.store.contents import Change, Scored

Table = dict[str, Scored]  # task, script or length → scores
Changes = dict[str, dict[str, Change]]  # task → metric → change


M = TypeVar("M", bound=str)  # what models are called


@dataclass(frozen=True)
class Heard(Generic[M]):
    """What models said on the same rows, judged.

    Attributes:
        texts: model → its answers in the order of the rows; ``cut``: which of them were cut off.
        judged: model → its rows' judgements, with texts made equal by ``how``.
    """

    rows: Sequence[HeldOutRow]
    texts: Mapping[M, Sequence[str]]
    cut: Mapping[M, Sequence[bool]]
    how: Normalisation
    judged: Mapping[M, Judged]

    @property
    def models(self) -> list[M]:
        """What they are called."""
        return list(self.texts)

    @property
    def has_places(self) -> bool:
        """Is one of the rows spotting?"""
        return any(row.measure == "spotting" for row in self.rows)

    @property
    def documents(self) -> int:
        """How many documents the rows belong to."""
        return len(set(map(_document, self.rows)))

    @cached_property
    def parts(self) -> dict[str, Sequence[int]]:
        """task → its rows; ``all`` are all of them."""
        return {"all": range(len(self.rows)), **metrics.rows_of(row.task for row in self.rows)}

    @cached_property
    def groups(self) -> dict[str, dict[str, Sequence[int]]]:
        """script, length → value → its rows."""
        kinds = {"script": metrics.script, "length": metrics.length}
        return {kind: metrics.rows_of(of(row.truth) for row in self.rows) for kind, of in kinds.items()}

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

    def worst(self, of: M) -> list[int]:
        """The rows' numbers, those with the greatest error of that model first; of equals the file's order."""
        error = self.judged[of].error
        return sorted(range(len(self.rows)), key=lambda row: (-error[row], row))

    def doubtful(self, row: int, of: M) -> bool:
        """Does another model say what ``of`` says, and the label something else? Then the label may be wrong."""
        said, truth = (metrics.normalise(text, self.how) for text in (self.texts[of][row], self.rows[row].truth))
        others = (metrics.normalise(texts[row], self.how) for model, texts in self.texts.items() if model != of)
        return bool(said) and said != truth and said in others

    def lines(self) -> Iterable[dict[str, object]]:
        """A line of predictions.jsonl for each row: the row, its truth, each model's answer, and whose was cut off."""
        for i, row in enumerate(self.rows):
            line: dict[str, object] = {"row": row.number, "turn": len(row.earlier), "task": row.task}
            line["truth"] = row.truth
            line.update((str(model), texts[i]) for model, texts in self.texts.items())
            line["cut"] = [model for model in self.texts if self.cut[model][i]]
            yield line


def judge(
    rows: Sequence[HeldOutRow],
    texts: Mapping[M, Sequence[str]],
    how: Normalisation,
    cut: Mapping[M, Sequence[bool]] | None = None,
) -> Heard[M]:
    """Judge models' answers.

    Args:
        texts: model → its answers in the order of the rows.
        cut: model → which of them were cut off at the longest allowed; without it none was.
    """
    cut = cut or {model: [False] * len(rows) for model in texts}
    truths, measures = [row.truth for row in rows], [row.measure for row in rows]
    documents = [_document(row) for row in rows]
    judged = {
        model: metrics.judge(truths, list(said), measures, how, cut=list(cut[model]), documents=documents)
        for model, said in texts.items()
    }
    return Heard(rows, texts, cut, how, judged)


def _document(row: HeldOutRow) -> str:
    return row.document or str(row.number)


def _table(judged: Judged, parts: Mapping[str, Sequence[int]], *, intervals: bool) -> Table:
    return {name: metrics.summarise(judged.at(part), intervals=intervals).as_dict() for name, part in parts.items()}


def _differences(candidate: Judged, reference: Judged) -> dict[str, Change]:
    return {metric: found.as_dict() for metric, found in metrics.differences(candidate, reference).items()}

"""Job ``compare``: any models read the same rows; scores, differences to the first of them, a report."""

from __future__ import annotations

import json
import time

from sft import metrics
from sft.context import Context
from sft.jobs.base import Job
from sft.jobs.choose_reader import reader_for
from sft.jobs.judged import Judged
from sft.jobs.placed import Named, check_unchanged
from sft.jobs.predict import DECODING, answers, rows_of_all
from sft.models.heard import judge
from sft.report.comparison import write_comparison
from sft.store import contents, records
from sft.store.contents import Compared

FOLDER = "evaluations"  # on the outputs volume


class CompareArgs(Judged):
    """``models`` read ``rows``; the first is what the others are compared with.

    Attributes:
        identities: of each model, in the same order, as its record says when the job is asked for.
    """

    models: tuple[Named, ...]
    identities: tuple[str, ...]

    def key(self) -> str:
        """Names the comparison: the models, what they are called, the rows, how they are decoded and judged."""
        how = self.how() | ({"backend": self.backend} if self.backend != "auto" else {})
        named = [[model.label, known] for model, known in zip(self.models, self.identities)]
        return records.fingerprint([named, self.title, self.fingerprint, how, metrics.VERSION, DECODING])[:16]

    def folder(self) -> str:
        """Where the comparison lies, relative to the outputs volume."""
        return f"{FOLDER}/{self.key()}"


def compare(args: CompareArgs, context: Context) -> Compared:
    """Compare, or return the record of the same comparison done before.

    Returns: see :class:`sft.store.contents.Compared`.
    Raises:
        IntegrityError: a model is not whole, does not load, or is another than was asked for.
    """
    folder = context.volumes.outputs / args.folder()
    if (record := contents.compared(folder)) is not None:
        return record
    started = time.time()
    check_unchanged(args.models, args.identities, context)
    rows, every = rows_of_all(args, args.rows, context)
    chosen = reader_for(args, args.models, rows, context)
    read_by = args.by(chosen["backend"])
    found = {model.label: answers(read_by, context, model, rows)[0] for model in args.models}
    texts = {label: [answer.text for answer in said] for label, said in found.items()}
    cut = {label: [answer.cut for answer in said] for label, said in found.items()}
    heard = judge(rows, texts, args.normalise, cut)
    first, *others = texts
    result = Compared(
        title=args.title,
        models=list(texts),
        identities=dict(zip(texts, args.identities)),
        places={model.label: model.place for model in args.models},
        rows=len(rows),
        of_rows=every,
        documents=heard.documents,
        scores={label: heard.table(label) for label in texts},
        groups=heard.by_group(),
        differences={label: heard.changes(label, first) for label in others},
        metrics_version=metrics.VERSION,
        normalise=args.normalise.model_dump(),
        max_new_tokens=args.max_new_tokens,
        read_by=chosen,
        folder=args.folder(),
        seconds=time.time() - started,
        finished=time.time(),
    )
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in heard.lines()]
    records.write_text(folder / "predictions.jsonl", "".join(lines))
    result["pictures"] = write_comparison(folder / "report.html", result, heard, args.examples)
    records.write_json(folder / "report.json", result)
    records.write_record(folder, result)
    context.commit()
    return result


COMPARE = Job("compare", CompareArgs, compare, billed=True)

"""Job ``doubt``: which labels of a set are probably wrong, by what a tuned model and the base make of them.

A label is doubtful where the tuned model reads something else, and either holds that much likelier (at one place of the
answer another token than the label's by ``odds`` times or more), or the base reads the very same. The first is the
loss that stays high at the end of a training: labels that are wrong are learned last (Arpit et al., A Closer Look at
Memorization in Deep Networks, ICML 2017), so that rows which were trained on can be judged, too. Its greatest odds are
taken rather than its mean, as one wrong digit on a page of a thousand characters is as wrong as on a line of four.

Each row is weighed once (one forward pass with its label, no decoding); only those of which the model would say
something else are read, by both. What is weighed and read is kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import cast

from sft import metrics
from sft.context import Context
from sft.dataset.corrections import Task, task
from sft.dataset.reading import image_folder
from sft.jobs.base import Job
from sft.jobs.judged import Judged
from sft.jobs.placed import Named, check_unchanged, found_model
from sft.jobs.predict import DECODING, Answering, Reading, rows_of_all
from sft.models.heard import Heard, judge
from sft.models.held_out import HeldOutRow
from sft.models.questions import Weight
from sft.models.readers import OURS, open_reader, unavailable
from sft.report.doubtful import MOST, write_doubtful
from sft.store import records
from sft.store.appended import adding, kept
from sft.store.doubts import Doubted

FOLDER = "doubtful"  # on the outputs volume
WEIGHING = 1  # how answers are weighed; another version weighs anew
TOLD = 256  # rows between two events
TASKS = ("doubtful.jsonl", "doubtful.json")  # for a label tool: a task a line, and all of them as one list


class DoubtArgs(Judged):
    """``model`` and ``base`` judge the labels of ``rows``.

    Attributes:
        identities: of both models, as their records say when the job is asked for.
        odds: how many times likelier something else has to be.
    """

    model: Named
    base: Named
    identities: tuple[str, str]
    odds: float

    def key(self) -> str:
        """Names the search: the models, the rows, how they are weighed, read and judged."""
        how = {**self.how(), "odds": self.odds}
        named = [[model.label, known] for model, known in zip((self.model, self.base), self.identities)]
        parts = [named, self.title, self.fingerprint, how, metrics.VERSION, DECODING, WEIGHING]
        return records.fingerprint(parts)[:16]

    def folder(self) -> str:
        """Where the result lies, relative to the outputs volume."""
        return f"{FOLDER}/{self.key()}"


def doubt(args: DoubtArgs, context: Context) -> Doubted:
    """Search, or return the record of the same search done before.

    Raises:
        IntegrityError: a model is not whole, does not load, or is another than was asked for.
    """
    folder = context.volumes.outputs / args.folder()
    if (known := records.read_record(folder)) is not None:
        return cast("Doubted", known)
    started = time.time()
    check_unchanged((args.model, args.base), args.identities, context)
    rows, every = rows_of_all(args, args.rows, context)
    backend = backend_of(args)
    weights = _weighed(args, context, backend, rows)
    suspected = [number for number, weight in enumerate(weights) if weight.odds > 0]
    heard = _read(args.by(backend), args, context, [rows[number] for number in suspected])
    doubtful = _doubtful(args, heard, [weights[number] for number in suspected])
    found = judge(
        [heard.rows[at] for at in doubtful],
        {model: [texts[at] for at in doubtful] for model, texts in heard.texts.items()},
        args.normalise,
        {model: [cut[at] for at in doubtful] for model, cut in heard.cut.items()},
    )
    whole = image_folder(args.rows.path(context))
    known_as = partial(_named, context, whole)
    tasks = [_task(found, at, weight, known_as, args) for at, weight in enumerate(doubtful.values())]
    result = Doubted(
        title=args.title,
        model=args.model.label,
        base=args.base.label,
        rows=len(rows),
        of_rows=every,
        read=len(suspected),
        doubtful=len(doubtful),
        odds=args.odds,
        read_by=backend,
        folder=args.folder(),
        seconds=time.time() - started,
        finished=time.time(),
    )
    lines = (json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)
    records.write_text(folder / TASKS[0], "".join(lines))
    records.write_json(folder / TASKS[1], tasks)
    result["pictures"] = write_doubtful(folder / "report.html", result, found, list(doubtful.values()), args.examples)
    records.write_json(folder / "report.json", result)
    records.write_record(folder, result)
    context.commit()
    return result


def backend_of(args: Reading) -> str:
    """What weighs and reads: transformers where it is there and nothing else was asked for. vLLM weighs nothing.

    Both models are read by it, and no difference between two models is measured, so that it needs no proof.
    """
    if args.backend == OURS or unavailable("transformers"):
        return OURS
    return "transformers"


def _weighed(args: DoubtArgs, context: Context, backend: str, rows: Sequence[HeldOutRow]) -> list[Weight]:
    """What the model thinks of each label; what was weighed before is kept."""
    how = {"backend": backend, "device": args.device, "version": WEIGHING}
    place = f"weighed/{args.identities[0][:16]}-{records.fingerprint(how)[:8]}"
    folder = context.volumes.outputs / place
    keys = [records.fingerprint([row.key(), row.truth])[:32] for row in rows]
    done = {told["row"]: Weight(told["cost"], told["odds"]) for told in kept(folder)}
    missing = {key: row for key, row in zip(keys, rows) if key not in done}
    context.event("evaluate", model=args.model.label, rows=len(rows), done=len(rows) - len(missing))
    if missing:
        done |= _weigh(args, context, backend, folder, missing, len(rows))
        context.commit()
    return [done[key] for key in keys]


def _weigh(
    args: DoubtArgs, context: Context, backend: str, folder: Path, missing: Mapping[str, HeldOutRow], total: int
) -> dict[str, Weight]:
    keys, rows = list(missing), list(missing.values())
    found: dict[str, Weight] = {}
    with (
        found_model(args.model.place, context) as place,
        closing(open_reader(backend, place, args.device)) as reader,
        adding(folder, context.writer) as add,
    ):
        turns = [row.turns for row in rows]
        for number, weight in reader.weigh(turns, [row.truth for row in rows], batch_size=args.batch_size):
            found[keys[number]] = weight
            add({"row": keys[number], **weight._asdict()})
            if len(found) % TOLD == 0:
                done = total - len(rows) + len(found)
                context.event("evaluate", model=args.model.label, rows=total, done=done)
    return found


def _read(how: Reading, args: DoubtArgs, context: Context, rows: Sequence[HeldOutRow]) -> Heard[str]:
    texts: dict[str, list[str]] = {}
    cut: dict[str, list[bool]] = {}
    for model in (args.base, args.model):
        with Answering(how, context, model) as asked:
            answers = asked.answers(rows)
        texts[model.label], cut[model.label] = [one.text for one in answers], [one.cut for one in answers]
    return judge(rows, texts, args.normalise, cut)


def _doubtful(args: DoubtArgs, heard: Heard[str], weights: Sequence[Weight]) -> dict[int, Weight]:
    """Row → its weight, those first of which the model is surest."""
    model = args.model.label
    found = {
        at: weight
        for at, weight in enumerate(weights)
        if not heard.judged[model].exact[at] and (weight.odds >= math.log(args.odds) or heard.doubtful(at, model))
    }
    return dict(sorted(found.items(), key=lambda one: -one[1].odds))


def _named(context: Context, folder: Path, image: Path) -> str:
    """The image's name as the rows of that folder have it."""
    path = context.unpacked.name(image)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _task(heard: Heard[str], at: int, weight: Weight, named: Callable[[Path], str], args: DoubtArgs) -> Task:
    row = heard.rows[at]
    names = [named(path) for path in row.shown]
    facts = {"set": args.title, "prompt": row.prompt, "times_likelier": round(math.exp(min(weight.odds, MOST)), 1)}
    said = [(args.base, args.identities[1]), (args.model, args.identities[0])]
    read = {f"{model.label} {known[:8]}": heard.texts[model.label][at] for model, known in said}
    return task(names, facts, row.number, len(row.earlier), row.truth, read)


DOUBT = Job("doubt", DoubtArgs, doubt, billed=True)

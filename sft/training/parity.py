"""Is a model trained on the question that it is asked later? Found out in seconds, before a GPU is paid for hours.

A few rows of each prompt go through the trainer's own data pipeline, in the environment of the training
(:meth:`sft.engines.base.Engine.parity`), and through the base model's chat template, as a reader applies it. The token
ids have to be the same, and what is learned has to be the answer and its end. A newline behind "Assistant:" that one
has and the other has not cost users of PaddleOCR-VL-1.5 their trainings (ERNIE #1442, PaddleOCR #17589).

Equal tokens may still be seen otherwise: pictures scaled in another way, other positions, another attention. So the
base answers a few rows as a reader, and its answers have to cost the same there and on the way through a training.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from sft.dataset.tasks import plain
from sft.engines.base import Command, Engine, Folders, TrainSpec
from sft.errors import IntegrityError, TrainingFailed
from sft.families import FAMILIES, TINY, Family, differs
from sft.processes import without_secrets
from sft.training import kept

EACH, MOST, LOOKED, LIMIT = 2, 64, 2000, 300.0  # rows of each prompt, in all, looked through for them; seconds
# How far apart (nats a token) the same answer may cost. Ran: float32 on a CPU differs by 1e-6, bfloat16 on an H100 by
# 0.07, four bits there by 0.08; an image scaled in another way (PaddleFormers' augmentation) by 0.5 to 1.6.
APART = {"float32": 0.01, "bf16": 0.25, "float16": 0.25, "four_bit": 0.5}
ROWS = "parity.jsonl"  # in the training's work folder
SHOWN = 60  # characters of an answer
AROUND = 6  # tokens that are shown on either side of a difference
TEMPLATE = "chat_template.jinja"
SEEN = (
    "the trainer sees a row otherwise than a reader (its picture, positions, attention): report it; training would "
    "make the model worse"
)
REMEDY = (
    "correct base_model.repo or base_model.family; where both are right, report it: training would make the model worse"
)


def before(
    engine: Engine,
    spec: TrainSpec,
    folders: Folders,
    base: Path,
    family: str,
    *,
    looks: Path,
    card: str,
) -> str:
    """What is to be seen before a training; returns what was seen.

    On a GPU a pipeline that cannot be asked is said, and the training begins: nobody has asked one there yet, and the
    prompt of the base's family has been compared.

    Args:
        base: the base model's folder, whose small files the tuned model will have.
        family: of :mod:`sft.families`; empty: whoever asked does not know.
        looks: the folder where whole looks are kept, and found again (:mod:`sft.training.kept`).
        card: what the call is billed as.
    Raises:
        IntegrityError, TrainingFailed: see :func:`check_family` and :func:`check`.
    """
    if family:
        check_family(base, FAMILIES.get(family, TINY))
    command = engine.parity(spec, folders)
    if command is None:
        return f"the base model asks as its family does; of its rows engine {engine.name} shows nothing"
    rows = sample(folders.train_file, folders.config.parent / ROWS)
    name = kept.key(engine.name, spec, command.argv[0], folders.base_model, rows, card)
    if earlier := kept.read(looks, name):
        return earlier
    try:
        said, whole = check(command, spec, rows)
    except TrainingFailed as error:
        if spec.device == "cpu":
            raise
        return f"the base model asks as its family does; {error.message}"
    if whole:
        kept.write(looks, name, said)
    return said


def check_family(base: Path, family: Family) -> None:
    """Is a base model asked as its family is?

    Raises:
        IntegrityError: its chat template asks in another way, or it has none.
    """
    path = base / TEMPLATE
    if not path.exists():  # some keep it with the tokenizer's settings
        path = base / "tokenizer_config.json"
    try:
        text = path.read_text(encoding="utf-8")
        found = differs(family, text if path.name == TEMPLATE else json.loads(text)["chat_template"])
    except Exception as error:  # a template raises whatever it likes
        said = f"the base model's chat template cannot be used: {error}"
        raise IntegrityError(said, where=str(path), remedy=REMEDY) from error
    if found is not None:
        wanted, asked = found
        said = f"the base model is no PaddleOCR-VL-{family.name}: its chat template asks {asked!r}, not {wanted!r}"
        raise IntegrityError(said, where=str(path), remedy=REMEDY)


def sample(train_file: Path, target: Path) -> Path:
    """Write a few rows of each prompt of a training set to ``target``; a place that it asks about is no part of it.

    Returns: ``target``.
    """
    seen: Counter[str] = Counter()
    chosen: list[bytes] = []
    with train_file.open("rb") as file:
        for line in islice(file, LOOKED):
            prompts = " ".join(plain(message["content"]) for message in json.loads(line)["messages"][::2])
            seen[prompts] += 1
            if seen[prompts] <= EACH and len(chosen) < MOST:
                chosen.append(line)
    target.write_bytes(b"".join(chosen))
    return target


def check(command: Command, spec: TrainSpec, rows: Path) -> tuple[str, bool]:
    """Compare the trainer's rows with the reader's, and what the base's own answers cost here and there.

    Args:
        command: of :meth:`sft.engines.base.Engine.parity`; it is given the rows' file.
        rows: see :func:`sample`.
    Returns: what agrees, and whether all was compared.
    Raises:
        IntegrityError: they differ; both sides are shown.
        TrainingFailed: the trainer cannot be asked.
    """
    environment = {**without_secrets(os.environ), **command.environment}
    try:
        process = subprocess.run(
            [*command.argv, rows.name], env=environment, cwd=rows.parent, capture_output=True, text=True, timeout=LIMIT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unasked(str(error), rows) from error
    if process.returncode:
        raise _unasked((process.stderr.strip().splitlines() or ["no word"])[-1], rows)
    said = json.loads(process.stdout.splitlines()[-1])
    image = said["image"] if spec.augment == "template" else None  # it makes them more or fewer tokens in training
    for row in said["rows"]:
        if problem := difference(row, said["tokens"], image):
            raise IntegrityError(problem, where=f"a row that asks {row['prompt']!r}", remedy=REMEDY)
    same = f"training and reading agree token by token on {len(said['rows'])} rows"
    if why := said.get("unanswered"):
        if spec.device == "cpu":
            raise _unasked(f"the base's own answers: {why}", rows)
        return f"{same}; what the base's own answers cost was not compared: {why}", False
    for answer in said["answers"]:
        if problem := dearer(answer, spec):
            raise IntegrityError(problem, where=f"a row that asks {answer['prompt']!r}", remedy=SEEN)
    return f"{same}, and on what {len(said['answers'])} of the base's own answers cost", True


def dearer(answer: Mapping[str, Any], spec: TrainSpec) -> str:
    """What is wrong with the cost of an answer that the base gave itself; an empty text where nothing is.

    Args:
        answer: the ``answer``, and its mean cost in nats a token where it is ``read`` and where it is ``trained``.
    """
    bound = APART["four_bit" if spec.four_bit else spec.precision]
    if abs(answer["trained"] - answer["read"]) <= bound:  # not where one is not a number
        return ""
    return (
        f"the base model's own answer {answer['answer'][:SHOWN]!r} costs {answer['trained']:.3f} nats a token on "
        f"the way through the training, and {answer['read']:.3f} where it is read; {bound} apart would be rounding"
    )


def _unasked(why: str, rows: Path) -> TrainingFailed:
    remedy = "the environment of the engine is incomplete: sft doctor names what is missing"
    return TrainingFailed(f"the trainer's rows cannot be looked at: {why}", where=str(rows), remedy=remedy)


def difference(row: dict[str, Any], tokens: dict[str, str], image: int | None) -> str:
    """What is wrong with a row, with both sides at the first difference; an empty text where nothing is.

    Args:
        row: ``trained`` (ids) and ``learned`` (is the id's loss counted?) of the trainer; ``asked`` (ids) of the
            reader, the ids of the ``answer`` and its ``end``.
        tokens: id → token.
        image: the id of an image's tokens, of which any number counts as one; None: all count.
    """
    wanted = [*row["asked"], *row["answer"], row["end"]]
    trained, learned = row["trained"], row["learned"]
    if image is not None:
        kept = _collapsed(trained, image)
        trained, learned = [trained[i] for i in kept], [learned[i] for i in kept]
        wanted = [wanted[i] for i in _collapsed(wanted, image)]
    if trained != wanted:
        at = next((i for i, (a, b) in enumerate(zip(trained, wanted)) if a != b), min(len(trained), len(wanted)))
        sides = (f"{name} {_shown(ids, at, tokens)}" for name, ids in (("training has", trained), ("a reader", wanted)))
        return f"training and reading differ at token {at + 1}: " + ", ".join(sides)
    answer = len(row["answer"]) + 1
    if not learned[-1]:
        return "the answer's end is not learned: a tuned model would not stop"
    if not all(learned[-answer:]):
        return "a part of the answer is not learned"
    if row["turns"] == 1 and any(learned[:-answer]):
        return "the prompt is learned, not only the answer"
    return ""


def _collapsed(ids: Sequence[int], image: int) -> list[int]:
    """Positions, of each run of ``image`` only the first."""
    found: list[int] = []
    for is_image, run in groupby(range(len(ids)), key=lambda i: ids[i] == image):
        places = list(run)
        found += places[:1] if is_image else places
    return found


def _shown(ids: Iterable[int], at: int, tokens: dict[str, str]) -> str:
    part = list(ids)[max(0, at - AROUND) : at + AROUND]
    return "[" + " ".join(repr(tokens.get(str(one), str(one)))[1:-1] for one in part) + "]"

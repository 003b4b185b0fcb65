"""What earlier runs have left on the volumes: finished trainings, champions, stored datasets. Needs no Prefect."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from compute.base import Compute
from compute.records import read_json
from sft import plan
from sft.config import RunConfig
from sft.dataset.packing import Amount
from sft.errors import DatasetError
from sft.jobs.placed_rows import DatasetPlace
from sft.jobs.promote import ASKED, PromoteArgs, binding
from sft.jobs.train import TrainArgs
from sft.store import champions
from sft.store.champions import Champion
from sft.store.contents import Base, Decision, DevScore, Evaluation, Scored, Training
from sft.store.dev import FOLDER
from sft.store.stored import Stored
from sft.store.volumes import run_place

# In the record of a name: the folder of the dataset that it stands for now (runs/uploading.py).
POINTS = "stands_for"


class RunResult(BaseModel):
    """What a run came to. Scores are those of :class:`sft.metrics.Scores`; paths are local."""

    identity: str
    folder: Path
    model: Path
    report: Path
    rows: int
    base: Scored
    tuned: Scored
    trained: bool  # False: the same training had finished before
    copied: int  # files copied to this machine
    promoted: bool | None = None  # None: nobody was asked (promote.mode is never), or has answered yet
    waiting: bool = False  # for a person's decision
    decision: str = ""


def finished_training(compute: Compute, identity: str) -> Training | None:
    """The record of a finished training, or None; also for what is no identity."""
    if not re.fullmatch(r"[0-9a-f]{16,64}", identity):
        return None
    return cast("Training | None", read_json(compute, "outputs", f"{run_place(identity)}/record.json"))


def newest_evaluation(compute: Compute, files: Iterable[str], identity: str) -> Evaluation | None:
    """The record of the training's newest evaluation, or None; ``files`` are paths on the outputs volume."""
    folder = f"{run_place(identity)}/evaluation/"
    places = [path for path in files if path.startswith(folder) and path.endswith("/record.json")]
    found = [record for place in places if (record := read_json(compute, "outputs", place)) and "args" in record]
    newest = max(found, key=lambda record: float(record.get("finished", 0)), default=None)
    return cast("Evaluation | None", newest)


def dev_scores(compute: Compute, identity: str) -> list[DevScore]:
    """What has read the dev rows so far, by step."""
    place = f"{run_place(identity)}/{FOLDER}"
    names = [file.path.rpartition("/")[2] for file in compute.list("outputs", place)]
    names = [name for name in names if re.fullmatch(r"step-\d+\.json", name)]
    found = [read_json(compute, "outputs", f"{place}/{name}") for name in names]
    return sorted((cast("DevScore", one) for one in found if one), key=lambda one: one["step"])


def champion(compute: Compute, name: str) -> Champion | None:
    """The line's champion, or None.

    Raises:
        IntegrityError: its file says something else.
    """
    place = champions.pointer(name)
    return champions.known(read_json(compute, "outputs", place), f"outputs/{place}")


def to_beat(compute: Compute, name: str, identity: str) -> str:
    """The training that a candidate is compared with besides the base; for the champion itself, the one before."""
    now = champion(compute, name)
    if now is None:
        return ""
    return now.over if now.identity == identity else now.identity


def open_questions(compute: Compute, name: str) -> list[PromoteArgs]:
    """What people are asked about trainings of the line ``name``, and nobody has answered yet.

    Questions are about one comparison each; one that nobody answered in time is still open to an answer by command.
    """
    folder, now, found = f"{champions.place(name)}/{ASKED}", champion(compute, name), []
    for file in compute.list("outputs", folder):
        said = read_json(compute, "outputs", file.path) if file.path.endswith(".json") else None
        if said is None:
            continue
        asked = PromoteArgs.model_validate(said["args"])
        if now is not None and now.identity == asked.identity:
            continue
        if binding(cast("Decision | None", read_json(compute, "outputs", asked.decision()))) is None:
            found.append(asked)
    return found


def point_locally(folder: Path, name: str, model: Path) -> Path:
    """Let the link ``NAME-champion`` in the results' folder point to the champion's model, atomically."""
    link, temporary = folder / f"{name}-champion", folder / f".{name}-champion.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(model, folder))
    os.replace(temporary, link)
    return link


def starting_from(config: RunConfig, compute: Compute, place: DatasetPlace, amount: Amount, base: Base) -> TrainArgs:
    """The training's arguments: from the base, or from the champion where the configuration says so.

    A champion that was itself trained so, on the same data, is the result already: it is not trained on once more.
    """
    from_base = plan.train_args(config, place, amount, base)
    now = champion(compute, config.name) if config.base_model.start == "champion" else None
    record = finished_training(compute, now.identity) if now else None
    if now is None or record is None:
        return from_base
    earlier = finished_training(compute, record.get("start_from", ""))
    start = None
    if earlier is not None:
        values = {"identity": earlier["identity"], "model_identity": earlier["model_identity"]}
        start = now.model_copy(update=values)
    again = plan.train_args(config, place, amount, base, start)
    return again if again.identity == now.identity else plan.train_args(config, place, amount, base, now)


def read_stored(
    volume: str, compute: Compute, dev_share: float = 0.0, part: float = 1.0
) -> tuple[DatasetPlace, Amount]:
    """(place, what is trained on) of a dataset on the data volume.

    Args:
        volume: its folder, or a name that ``sft upload --as`` has given to one.
        dev_share: of the training set's documents that choose instead, where the dataset has no dev set of its own.
        part: of the others that is trained on.
    Raises:
        DatasetError: there is no such dataset, or it was never finished.
    """
    found = read_json(compute, "data", f"{volume}/record.json")
    if found is not None and POINTS in found:
        volume = str(found[POINTS])
        found = read_json(compute, "data", f"{volume}/record.json")
    record = cast("Stored | None", found)
    if record is None:
        raise DatasetError(
            "no finished dataset on the data volume",
            where="dataset.volume",
            value=volume,
            remedy="sft upload TRAIN HELD_OUT prints the name of what it has put there; sft sample bengali makes one",
        )
    place = DatasetPlace(
        root=volume,
        train=record["files"]["train"],
        held_out=record["files"]["held_out"],
        train_format=record["train"]["format"],
        held_out_format=record["held_out"]["format"],
        fingerprint=record["fingerprint"],
        odd=record["train"].get("odd"),
        dev=record["files"].get("dev", ""),
        dev_format=record.get("dev", {}).get("format", "erniekit"),
        dev_share=0.0 if "dev" in record["files"] else dev_share,
        part=part,
    )
    # Records of before have no lengths: packs are then taken for full.
    amount = Amount.of_pairs(int(record["train"]["rows"]), record.get("train_tokens", []))
    return place, amount.part((1 - place.dev_share) * part)

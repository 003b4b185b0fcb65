"""Where a training starts from: the base, or the champion; and trained on once, not again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from compute.local import LocalCompute
from runs.results import starting_from
from sft.config import RunConfig, load
from sft.dataset.packing import Amount
from sft.errors import IntegrityError
from sft.jobs.placed_rows import DatasetPlace
from sft.plan import train_args
from sft.store import champions, records
from sft.store.contents import Base
from tests.cli.test_serving import as_trained
from tests.sft.models.test_lora import result_of

BASE: Base = {"name": "base", "identity": "b" * 64, "files": {}}


def place(fingerprint: str) -> DatasetPlace:
    forms: dict[str, Any] = {"train_format": "messages", "held_out_format": "messages"}
    return DatasetPlace(root="r", train="t", held_out="h", fingerprint=fingerprint, **forms)


def configuration(start: str) -> RunConfig:
    return load("smoke", [f"base_model.start={start}"]).config


def finish(compute: LocalCompute, identity: str, start_from: str) -> None:
    run = compute.volumes.run(identity)
    run.mkdir(parents=True, exist_ok=True)
    record = {"identity": identity, "model_identity": f"model of {identity}", "start_from": start_from}
    records.write_record(run, record)


def promoted(compute: LocalCompute, identity: str) -> None:
    line = compute.volumes.outputs / champions.place("smoke")
    model = f"model of {identity}"
    champions.swap(line, name="smoke", identity=identity, model_identity=model, by="gate", over="")


def test_a_champion_is_trained_on_with_new_rows_and_found_again_without(home: Path) -> None:
    compute = LocalCompute(home / "state")
    config = configuration("champion")
    first = starting_from(config, compute, place("monday"), Amount(100), BASE)
    assert first == train_args(config, place("monday"), Amount(100), BASE), "without a champion: from the base"
    finish(compute, first.identity, "")
    promoted(compute, first.identity)
    assert starting_from(config, compute, place("monday"), Amount(100), BASE).identity == first.identity, (
        "it is the result"
    )

    second = starting_from(config, compute, place("tuesday"), Amount(120), BASE)
    assert (second.start_from, second.base_model) == (first.identity, "base")
    assert second.identity != train_args(config, place("tuesday"), Amount(120), BASE).identity
    finish(compute, second.identity, first.identity)
    assert starting_from(config, compute, place("tuesday"), Amount(120), BASE) == second, (
        "refused: it is found, not trained"
    )
    promoted(compute, second.identity)
    again = starting_from(config, compute, place("tuesday"), Amount(120), BASE)
    assert (again.identity, again.start_from) == (second.identity, first.identity)
    third = starting_from(config, compute, place("wednesday"), Amount(140), BASE)
    assert third.start_from == second.identity
    from_base = configuration("base")
    assert starting_from(from_base, compute, place("wednesday"), Amount(140), BASE).start_from == ""


def test_a_training_goes_on_from_the_weights_of_an_earlier_one(home: Path) -> None:
    compute = LocalCompute(home / "state")
    first, _ = as_trained(compute)
    model = compute.volumes.run(first.identity) / "model"
    second = first.model_copy(update={"identity": "2" * 64, "start_from": first.identity})
    later = result_of(compute, "train", second)
    assert later["start_from"] == first.identity
    settings = yaml.safe_load((compute.volumes.run(second.identity) / "work" / "train.yaml").read_text())
    assert settings["model_name_or_path"] == str(model)
    assert {"inference.yml", "chat_template.jinja"} <= set(later["model"])
    (model / "config.json").write_text("{}")
    third = second.model_copy(update={"identity": "3" * 64})
    with pytest.raises(IntegrityError, match="the model to start from is not whole"):
        result_of(compute, "train", third)

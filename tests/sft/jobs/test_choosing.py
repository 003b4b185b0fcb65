"""Dev rows choose the checkpoint: which rows, how many, what is kept until then, and a choice that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from compute.local import LocalCompute
from sft import plan
from sft.config import RunConfig, load
from sft.context import Context
from sft.dataset.reading import read_samples
from sft.dataset.split import is_dev
from sft.errors import IntegrityError
from sft.jobs.choose import LAST, ChooseArgs, choose
from sft.jobs.read_dev import FIRST
from sft.jobs.train import TrainArgs
from sft.smoke import digits
from sft.store import champions, checkpoints, dev, records
from tests.compute.test_local import TINY, wait
from tests.sft.models.test_lora import result_of
from tests.support.runs import short_training

SHARE, ROWS = 0.4, 160
KILLED = """
import json, os, signal, sys
from pathlib import Path
from compute.local import LocalCompute
from sft.context import Context
from sft.jobs.choose import ChooseArgs, choose
rename, left = Path.rename, [int(sys.argv[3])]
def dying(self, target):
    result = rename(self, target)
    left[0] -= self.name in ("model", "model.chosen")
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
Path.rename = dying
context = Context(LocalCompute(Path(sys.argv[1])).volumes, "killed", say=lambda line: None)
choose(ChooseArgs(identity=sys.argv[2], metric="error"), context)
"""


def configuration() -> RunConfig:
    return load("smoke", ["evaluate.batch_size=16", "evaluate.max_new_tokens=8", f"dataset.dev_share={SHARE}"]).config


def trained(home: Path) -> tuple[LocalCompute, TrainArgs, Context]:
    """A training of four steps with checkpoints after the second and the last, of which the trainer keeps one."""
    compute = LocalCompute(home / "state")
    wait(compute, compute.start("download_model", TINY))
    digits.write_dataset(compute.state / "digits", train_rows=ROWS, held_out_rows=4, seed=1)
    args = short_training(compute)
    spec = args.spec.model_copy(update={"save_total_limit": 1})
    args = args.model_copy(update={"spec": spec, "dataset": args.dataset.model_copy(update={"dev_share": SHARE})})
    result_of(compute, "train", args)
    return compute, args, Context(compute.volumes, "call", say=lambda line: None)


def read(compute: LocalCompute, args: TrainArgs, step: int, within: float = 0.0) -> dict[str, Any]:
    return result_of(compute, "read_dev", plan.read_dev_args(configuration(), args, step, within=within))


@pytest.mark.usefixtures("one_look")
def test_the_best_checkpoint_becomes_the_model_whatever_is_killed_on_the_way(home: Path) -> None:
    compute, args, context = trained(home)
    run = compute.volumes.run(args.identity)
    check_what_was_trained_on(compute, run)
    assert [step for step, _ in checkpoints.listed(run / "trainer")] == [4]
    assert [step for step, _ in checkpoints.listed(run / "dev")] == [2, 4], "the rotation would have taken one"
    second = load_file(str(next((run / "dev" / "checkpoint-2").glob("model*.safetensors"))))

    found = read(compute, args, 4, within=0.01)
    assert (found["rows"], found["of_rows"] > FIRST) == (FIRST, True), "more would take longer than allowed"
    place = run / "dev" / "step-4.json"
    worse = records.read_json(place)
    worse["scores"]["all"]["error"] = 9.0  # the later one is usually the better
    records.write_json(place, worse)
    assert read(compute, args, 4)["scores"]["all"]["error"] == 9, "a checkpoint reads once"
    assert read(compute, args, 2)["rows"] == FIRST, "all read the same rows, however fast the next one is"
    assert [step for step, _ in checkpoints.listed(run / "dev")] == [2], "the best one's weights stay"
    assert dev.scores(run)[0]["scores"]["all"]["error"] < 9
    assert list((run / "tensorboard" / "dev").glob("events.*"))

    last = (run / "model" / "model.safetensors").read_bytes()
    for renames in (1, 2):
        command = [sys.executable, "-c", KILLED, str(compute.state), args.identity, str(renames)]
        assert subprocess.run(command).returncode == -signal.SIGKILL
        assert (run / LAST).is_dir(), "it died in the middle"
        assert (records.read_record(run) or {}).get("chosen") is None
    record = choose(ChooseArgs(identity=args.identity, metric="error"), context)
    chosen = record["chosen"]
    assert (chosen["step"], chosen["rows"], [score["step"] for score in chosen["scores"]]) == (2, FIRST, [2, 4])
    assert records.read_record(run) == record
    assert records.broken_files(run / "model", record["model"]) == []
    assert record["model_identity"] == records.manifest_hash(records.manifest(run / "model"))
    model = load_file(str(run / "model" / "model.safetensors"))
    assert all((model[name] == weight).all() for name, weight in second.items()), "the second step's weights"
    assert (run / "model" / "model.safetensors").read_bytes() != last
    assert not (run / LAST).exists()
    assert checkpoints.listed(run / "dev") == []
    assert choose(ChooseArgs(identity=args.identity, metric="cer"), context) == record, "it is made once"


def check_what_was_trained_on(compute: LocalCompute, run: Path) -> None:
    """The dev documents' rows are not among those that the trainer was given, and all others are."""
    samples = list(read_samples(compute.state / "digits" / "train.jsonl", "erniekit"))
    others = {Path(sample.images[0][0]).name for sample in samples if not is_dev(sample, SHARE)}
    assert 0.4 * ROWS < len(others) < 0.8 * ROWS
    given = [json.loads(line) for line in (run / "work" / "train.messages.jsonl").read_text().splitlines()]
    assert {Path(row["images"][0]).name for row in given} == others
    assert (records.read_record(run) or {})["left_out"]["rows"] == len(others)


def a_training(context: Context, identity: str = "c" * 64, **more: Any) -> Path:
    run = context.volumes.run(identity)
    (run / "model").mkdir(parents=True)
    (run / "model" / "model.safetensors").write_bytes(b"last")
    facts = {"identity": identity, "steps": 4, "spec": {}, "base_model": "b", "model": {}, "model_identity": "m"}
    records.write_record(run, {**facts, **more})
    return run


def score(step: int, error: float) -> dict[str, Any]:
    every = {"error": error, "cer": 1 - error, "wer": error, "ned": error}
    return {"step": step, "rows": 1, "of_rows": 1, "scores": {"all": every}, "final": False, "seconds": 1.0}


def test_a_model_in_service_is_not_changed_and_nothing_is_chosen_of_nothing(home: Path) -> None:
    context = Context(LocalCompute(home / "state").volumes, "call", say=lambda line: None)
    run, args = a_training(context), ChooseArgs(identity="c" * 64, metric="error")
    with pytest.raises(IntegrityError, match="no checkpoint has read the dev rows"):
        choose(args, context)
    for step, error in ((2, 0.1), (4, 0.2)):
        records.write_json(run / "dev" / f"step-{step}.json", score(step, error))
    line = context.volumes.outputs / champions.place("night")
    champions.swap(line, name="night", identity="c" * 64, model_identity="m", by="hand", over="")
    record = choose(args, context)
    assert record["chosen"]["kept"] == "the model of the last step is the champion of night already, and stays"
    assert (run / "model" / "model.safetensors").read_bytes() == b"last"


def test_of_equals_the_later_one_is_the_best_and_the_metric_decides(home: Path) -> None:
    found: Any = [score(2, 0.2), score(4, 0.2), score(6, 0.3)]
    assert dev.best(found, "error")["step"] == 4
    assert dev.best(found, "cer")["step"] == 6


def test_a_training_that_nobody_follows_keeps_the_newest_unread_ones(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in range(1, dev.UNREAD + 4):
        folder = run / "trainer" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"w")
        (folder / "optimizer.pdopt").write_bytes(b"large")
        checkpoints.seal(folder, "i", "e", step, None)
        dev.keep(run, folder)
        if step == 1:
            records.write_json(run / "dev" / "step-1.json", score(1, 0.5))
    kept = [step for step, _ in checkpoints.listed(run / "dev")]
    assert kept == [1, *range(4, dev.UNREAD + 4)], "the best one that was read, and the newest"
    (run / "dev" / "step-1.json").unlink()  # a container does not see what another has written since it began
    dev.keep(run, run / "trainer" / "checkpoint-2", bounded=False)
    assert [step for step, _ in checkpoints.listed(run / "dev")] == [1, 2, *kept[1:]]
    assert not list((run / "dev").rglob("optimizer*"))

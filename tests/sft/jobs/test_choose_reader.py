"""Which backend reads: found out on a few rows, kept, the same for all models and for calls side by side."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from compute.local import LocalCompute
from sft.config import load
from sft.context import Context
from sft.errors import JobDied
from sft.jobs.choose_reader import AGAIN, FEWEST, OTHER, PROOF, ChooseReaderArgs, Comparing, reader_for
from sft.jobs.evaluate import EvaluateArgs
from sft.jobs.placed import found_model, identity
from sft.jobs.predict import Reading, answers, finished, read_rows, rows_of_all
from sft.models.proof import ROWS
from sft.models.questions import Answer
from sft.models.reader_process import ProcessReader
from sft.models.readers import open_reader
from sft.models.second_reader import VARIABLE, interpreter
from sft.plan import evaluate_args
from sft.report import remarks
from sft.store import records
from sft.store.proofs import ReadBy
from tests.compute.test_local import TINY, wait
from tests.support.runs import short_training

installed = pytest.mark.skipif(interpreter() is None, reason="make torch")
HELD_OUT = 40
# A job's body in a process of its own, as it runs, where fewer rows are enough.
BODY = """
import json, sys
from pathlib import Path
from sft.context import Context
from sft.jobs import choose_reader, find
from sft.store.volumes import Volumes
choose_reader.FEWEST["cpu"] = 20
volumes = Volumes.below(Path(sys.argv[1]))
print("OUT", json.dumps(find(sys.argv[2]).run(json.loads(sys.argv[3]), Context(volumes, sys.argv[4]))))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalCompute, EvaluateArgs]:
    """A training whose model is the base itself."""
    compute = LocalCompute(tmp_path_factory.mktemp("choosing") / "state")
    wait(compute, compute.start("download_model", TINY))
    args = short_training(compute, held_out=HELD_OUT)
    a_run(compute, args.identity, compute.volumes.models / args.base_model)
    config = load("smoke", ["evaluate.batch_size=8", "evaluate.max_new_tokens=8"]).config
    return compute, evaluate_args(config, args)


def a_run(compute: LocalCompute, identity: str, model: Path) -> Path:
    """A finished training with that model."""
    run = compute.volumes.run(identity)
    shutil.copytree(model, run / "model", ignore=shutil.ignore_patterns(records.RECORD))
    files = records.manifest(run / "model")
    facts: dict[str, Any] = {"identity": identity, "name": "smoke", "model": files, "spec": {}, "dataset": "d"}
    facts |= {"model_identity": records.manifest_hash(files), "engine": "e", "engine_version": "1", "steps": 1}
    facts |= {"base_model": "b", "resumed_from": None, "seconds": 1, "loss": 1}
    records.write_record(run, facts)
    return run


def started(compute: LocalCompute, job: str, args: dict[str, Any], call: str = "call") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BODY, str(compute.state / "volumes"), job, json.dumps(args), call]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[Any, str]:
    out = process.communicate(timeout=300)[0]
    assert "OUT" in out, out[-3000:]
    said, _, result = out.rpartition("OUT")
    return json.loads(result), said


def place(compute: LocalCompute, args: EvaluateArgs, backend: str, which: Any = "tuned") -> Path:
    context = Context(compute.volumes, "look")
    return compute.volumes.outputs / args.by(backend).place(identity(args.named(which), context))


def lines(folder: Path) -> Counter[str]:
    """How often each row was read."""
    entries = [json.loads(line) for part in folder.glob("*.jsonl") for line in part.read_text().splitlines() if line]
    return Counter(entry["row"] for entry in entries if "row" in entry)


def comparison(args: EvaluateArgs) -> dict[str, Any]:
    models = tuple(args.named(which) for which in args.models)
    how = args.model_dump(include=set(Reading.model_fields))
    return ChooseReaderArgs(**how, models=models, rows=args.rows_place).model_dump(mode="json")


def choose(args: EvaluateArgs, context: Context) -> ReadBy:
    rows, _ = rows_of_all(args, args.rows_place, context)
    return reader_for(args, [args.named(which) for which in args.models], rows, context)


@installed
def test_calls_side_by_side_come_to_one_choice_and_read_nothing_twice(
    trained: tuple[LocalCompute, EvaluateArgs],
) -> None:
    compute, args = trained
    calls = [started(compute, "choose_reader", comparison(args), f"call-{number}") for number in range(2)]
    told = [ended(call) for call in calls]
    assert [found["backend"] for found, _ in told] == [OTHER] * 2
    assert sum(said.count(f"{OTHER} reads: it reads like") for _, said in told) == 1, "one compared, the other waited"
    proof = records.read_json(place(compute, args, OTHER) / PROOF)
    assert (proof["rows"], proof["differ"], proof["kinds"]) == (ROWS, 0, ["ocr"])
    assert set(proof["rates"]) == set(proof["versions"]) == {"paddleformers", OTHER}

    result, _ = ended(started(compute, "evaluate", args.model_dump(mode="json")))
    assert result["read_by"]["backend"] == OTHER
    assert set(result["read_by"]["proofs"]) == {"base", "tuned"}
    assert any("read by transformers" in remark and "0 of 16 answers differ" in remark for remark in remarks(result))
    assert set(lines(place(compute, args, OTHER)).values()) == {1}
    assert len(lines(place(compute, args, OTHER))) == HELD_OUT
    assert len(lines(place(compute, args, "paddleformers"))) == ROWS, "what was compared is kept, no more was read"

    named = choose(args.by(OTHER), Context(compute.volumes, "look"))
    assert named["why"].startswith("evaluate.backend says so (base: 0 of 16 answers differ"), "told, from what is kept"

    checked, _ = ended(started(compute, "check_export", {**args.model_dump(mode="json"), "rows": 4}))
    assert (checked["equal"], checked["transformers"]["equal"]) == (4, 4), "PaddleFormers gives what transformers read"


@installed
def test_one_model_that_is_read_otherwise_decides_for_all(trained: tuple[LocalCompute, EvaluateArgs]) -> None:
    """A folder that means one thing to PaddleFormers and another to transformers."""
    compute, same = trained
    args = same.model_copy(update={"identity": "d" * 64})
    run = a_run(compute, args.identity, compute.volumes.models / args.base_model)
    values = json.loads((run / "model" / "config.json").read_text())
    values["rope_parameters"] = {**values["rope_scaling"], "rope_theta": 10000}  # PaddleFormers heeds it
    (run / "model" / "config.json").write_text(json.dumps(values))
    files = records.manifest(run / "model")
    facts = {**(records.read_record(run) or {}), "model": files, "model_identity": records.manifest_hash(files)}
    records.write_record(run, facts)

    result, said = ended(started(compute, "evaluate", args.model_dump(mode="json")))
    chosen = result["read_by"]
    assert chosen["backend"] == "paddleformers"
    assert "transformers is not used, because it does not read tuned alike: " in said
    assert chosen["proofs"]["tuned"]["differ"] > ROWS / 2
    assert any("transformers is not used" in remark for remark in remarks(result))
    for which in args.models:
        assert len(lines(place(compute, args, "paddleformers", which))) == HELD_OUT, "all models by one backend"
    assert len(lines(place(compute, args, OTHER))) == ROWS


class Killed:
    """A reader whose process is killed after some answers."""

    def __init__(self, reader: ProcessReader, after: int) -> None:
        self.backend, self.versions, self._reader, self._after = reader.backend, reader.versions, reader, after

    def answers(self, rows: Sequence[Any], **how: Any) -> Iterator[tuple[int, Answer]]:
        for number, found in enumerate(self._reader.answers(rows, **how), 1):
            yield found
            if number == self._after:
                os.kill(self._reader.pid, signal.SIGKILL)

    def close(self) -> None:
        self._reader.close()


@installed
def test_what_was_read_before_a_kill_is_read_no_more(trained: tuple[LocalCompute, EvaluateArgs]) -> None:
    compute, same = trained
    args = same.model_copy(update={"backend": OTHER, "max_new_tokens": 9, "batch_size": 2})
    context = Context(compute.volumes, "call", say=lambda line: None)
    rows, _ = rows_of_all(args, args.rows_place, context)
    folder, tuned = place(compute, args, OTHER), args.named("tuned")
    missing = {row.key(): row for row in rows}
    with found_model(tuned.place, context) as model, closing(open_reader(OTHER, model, "cpu")) as reader:
        assert isinstance(reader, ProcessReader)
        with pytest.raises(JobDied, match="what was read before"):
            read_rows(args, context, "tuned", Killed(reader, 5), folder, missing, total=len(rows))
    kept = len(finished(folder))
    assert 5 <= kept < HELD_OUT
    found, read = answers(args, context, tuned, rows)
    assert (len(found), read) == (HELD_OUT, HELD_OUT - kept)
    assert set(lines(folder).values()) == {1}


def test_what_does_not_pay_or_is_not_there_is_not_compared(
    trained: tuple[LocalCompute, EvaluateArgs], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, args = trained
    context = Context(compute.volumes, "call", say=lambda line: None)
    if interpreter() is not None:
        assert choose(args, context)["why"].startswith(f"{HELD_OUT} rows of a model are to be read: below 2000")
    assert FEWEST["cpu"] > 300, "the demo is not slowed down"
    monkeypatch.setenv(VARIABLE, "")
    assert "run make torch" in choose(args, context)["why"]
    assert choose(args.by("paddleformers"), context)["proofs"] == {}


def test_answers_and_evaluations_of_before_are_found_where_they_are(
    trained: tuple[LocalCompute, EvaluateArgs],
) -> None:
    _, args = trained
    ours = args.by("paddleformers")
    assert args.place("m" * 16) == ours.place("m" * 16) != args.by("transformers").place("m" * 16)
    assert args.key("m") != ours.key("m"), "auto may have been read by another"
    plain = records.fingerprint({"tokens": 8, "device": "cpu", "version": 4})
    assert args.place("m" * 16).endswith(plain[:8]), "as before there was more than one backend"


def test_a_backend_that_could_not_read_is_no_answer_for_ever(trained: tuple[LocalCompute, EvaluateArgs]) -> None:
    """It holds for calls beside, is tried again by the next night, and is none where the user has chosen it."""
    compute, same = trained
    args = same.model_copy(update={"identity": "e" * 64, "backend": "auto"})
    run = a_run(compute, args.identity, compute.volumes.models / args.base_model)
    (run / "model" / "more.txt").write_text("another model")
    files = records.manifest(run / "model")
    facts = {**(records.read_record(run) or {}), "model": files, "model_identity": records.manifest_hash(files)}
    records.write_record(run, facts)
    context = Context(compute.volumes, "look")
    rows, _ = rows_of_all(args, args.rows_place, context)
    kept = place(compute, args, OTHER) / PROOF
    kept.parent.mkdir(parents=True)
    failed: dict[str, Any] = {"backend": OTHER, "passed": False, "rows": 0, "differ": 0, "other": [], "kinds": ["ocr"]}
    failed |= {"failed": "its process was killed", "finished": time.time()}

    def decided(backend: str = "auto") -> ReadBy | None:
        asked = args.by(backend) if backend != "auto" else args
        return Comparing(asked, [asked.named("tuned")], rows, context, OTHER).decided()

    records.write_json(kept, failed)
    found = decided()
    assert found is not None
    assert (found["backend"], "its process was killed" in found["why"]) == ("paddleformers", True)
    assert decided(OTHER) is None, "who has chosen it wants to know why it cannot read"
    records.write_json(kept, {**failed, "finished": time.time() - 2 * AGAIN})
    assert decided() is None, "it is tried again"

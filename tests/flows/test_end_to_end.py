"""The flow through a real Prefect server, with a real training on the CPU: once, again, and with a broken dataset."""

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect_email import EmailServerCredentials
from rich.table import Table
from safetensors.numpy import load_file

from cli.status import status_table
from compute.local import LocalCompute
from flows.fine_tune import fine_tune
from runs.calls import running_calls
from runs.ledger import read_ledger
from runs.results import RunResult, champion
from runs.usage import read_usage
from sft import plan
from sft.config import RunConfig, load
from sft.errors import BudgetExceeded, DatasetError, InputError, JobDied
from sft.store import checkpoints, records
from tests.conftest import Dataset
from tests.support.inbox import inbox, mailbox
from tests.support.killer import kill_training_after

pytestmark = pytest.mark.usefixtures("prefect_server", "one_look")
SETTINGS = [
    "dataset.digits.train_rows=64",
    "dataset.digits.held_out_rows=12",
    "train.max_steps=20",
    "train.save_steps=10",
    "train.logging_steps=5",
    "evaluate.batch_size=5",
]
UNASKED = "promote.mode=never"  # where the gate is not what is tested
STEPS = [
    "validate-dataset",
    "upload-data",
    "ensure-wheel",
    "ensure-base-model",
    "train",
    "sync-checkpoint",
    "evaluate",
    "check-export",
    "promote",
]


def configuration(*more: str) -> RunConfig:
    return load("smoke", [*SETTINGS, *more]).config


def run(config: RunConfig) -> RunResult:
    result = fine_tune(config)
    assert isinstance(result, RunResult)
    return result


def latest_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        return max(client.read_flow_runs(), key=lambda run: run.created.timestamp() if run.created else 0)


def artifacts(run: FlowRun) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        return {artifact.key or "": artifact for artifact in client.read_artifacts(artifact_filter=mine)}


def steps(run: FlowRun) -> dict[str, str]:
    """Step → the name of its final state, in the order in which they began."""
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    begun = sorted((task.start_time.timestamp() if task.start_time else 0.0, task.name, task) for task in runs)
    return {name: task.state_name or "" for _, name, task in begun}


def test_from_a_dataset_to_an_evaluated_model_and_again_for_nothing(home: Path) -> None:
    first = run(configuration())
    flow_run = latest_run()
    first_state = flow_run.state_name
    assert first_state == ("Promoted" if first.promoted else "Refused")
    assert list(steps(flow_run)) == STEPS
    assert steps(flow_run)["ensure-wheel"] == "Skipped"
    assert first.trained
    check_artifacts(artifacts(flow_run))
    check_files(first.folder, first.identity)
    assert first.rows == 12
    assert first.base != first.tuned

    compute = LocalCompute(home / "state")
    calls = sorted(os.listdir(compute.calls))
    before = {path: path.stat().st_mtime_ns for path in first.folder.glob("model/*")}
    second = run(configuration())
    assert latest_run().state_name == first_state
    assert (second.trained, second.copied) == (False, 0)
    assert (second.base, second.tuned) == (first.base, first.tuned)
    assert sorted(os.listdir(compute.calls)) == calls, "a job was started although nothing changed"
    assert {path: path.stat().st_mtime_ns for path in first.folder.glob("model/*")} == before
    check_night(first, compute)
    check_status(first)


def check_status(first: RunResult) -> None:
    """``sft status`` says what became of the training, whether it is in service, and how it reads."""
    (row,) = table_rows(status_table(configuration()))
    state = "finished" + (", champion of smoke" if first.promoted else "")
    rates = [f"{scores['cer']:.3f}" for scores in (first.base, first.tuned)]
    assert row[:6] == [first.identity[:16], "smoke", state, "20", *rates]


def table_rows(table: Table) -> list[list[str]]:
    return [list(map(str, row)) for row in zip(*(column._cells for column in table.columns))]


def check_night(first: RunResult, compute: LocalCompute) -> None:
    """A night without news is skipped, with the reason; other settings are news."""
    state = fine_tune(configuration("skip_unchanged=true"), return_state=True)
    assert (state.name, state.type.value) == ("Skipped", "COMPLETED")
    assert f"training {first.identity[:16]}" in str(state.message)
    assert "skip_unchanged=false" in str(state.message), "what to do if it should run all the same"
    assert [entry.outcome for entry in read_ledger(compute)] == ["completed", "completed", "skipped"]
    last, news = read_ledger(compute)[0], plan.settings(configuration("train.seed=2", "skip_unchanged=true"))
    assert last.settings == plan.settings(configuration("notify.on=[failed]")) != news


def test_a_spoilt_model_is_refused_and_people_are_told(home: Path) -> None:
    with inbox() as box, mailbox() as mail:
        EmailServerCredentials(smtp_server="127.0.0.1", smtp_type="INSECURE", smtp_port=mail.port).save("team")
        hook = CustomWebhookNotificationBlock(
            name="pager", url=box.url, method="POST", json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        hook.save("pager", overwrite=True)
        blocks = "notify.blocks=[custom-webhook/pager, email-server-credentials/team]"
        told = (blocks, "notify.to=[ocr@example.org]", "train.learning_rate=0.5")
        settings = ("train.max_steps=4", "train.warmup_steps=1", "promote.min_rows=5", *told)
        alone = run(configuration(*settings))
        assert latest_run().state_name == "Refused"
        assert alone.promoted is False
        assert alone.tuned["error"] > alone.base["error"]
        (message,), ((recipients, letter),) = box.messages, mail.letters
    assert message["subject"] == "sft smoke: refused"
    assert f"is refused: better than base: error {alone.tuned['error']:.4f}" in message["body"]
    assert (recipients, letter["Subject"]) == (["ocr@example.org"], "sft smoke: refused")
    plain = letter.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().split() == message["body"].split()
    compute = LocalCompute(home / "state")
    assert champion(compute, "smoke") is None
    assert not (home / "models" / "smoke-champion").exists()

    # The rows shared out to several calls give the same scores; the webhook is gone, which fails no run.
    shutil.rmtree(compute.volumes.outputs / "predictions")
    place = next((compute.volumes.outputs / "runs").iterdir())
    shutil.rmtree(place / "evaluation")
    shared = run(configuration(*settings, "evaluate.shards=2", "evaluate.batch_size=2"))
    assert len([call for call in os.listdir(compute.calls) if call.startswith("predict-")]) == 4
    assert (shared.base, shared.tuned) == (alone.base, alone.tuned)


def test_a_block_that_nobody_made_is_said_before_anything_is_done(home: Path) -> None:
    with inbox() as box:
        hook = CustomWebhookNotificationBlock(name="here", url=box.url, method="POST", json_data={"body": "{{body}}"})
        hook.save("here", overwrite=True)
        blocks = "notify.blocks=[slack-webhook/none, custom-webhook/here, custom-webhook/missing]"
        with pytest.raises(InputError, match="no such notification block") as told:
            run(configuration(blocks))
    assert "slack-webhook/none, custom-webhook/missing" in str(told.value)
    assert "prefect block ls" in str(told.value)
    assert not (home / "state" / "calls").exists() or not os.listdir(home / "state" / "calls")
    assert "no such notification block" in box.messages[0]["body"], "those that there are hear of it"


def check_artifacts(found: dict[str, Any]) -> None:
    assert {"dataset", "training-progress", "loss-curve", "evaluation", "report", "decision", "summary"} <= set(found)
    table = json.loads(found["dataset"].data)
    assert [(row["set"], row["rows"]) for row in table] == [("train", 64), ("held-out", 12)]
    assert found["training-progress"].data == 100.0
    assert "passes over 64 rows; none left out" in found["summary"].data
    assert "answers reproduced; by transformers" in found["decision"].data
    assert found["loss-curve"].data.startswith("data:image/svg+xml;base64,")
    assert "| all | tuned | 12 |" in found["evaluation"].data


def check_files(folder: Path, identity: str) -> None:
    model = folder / "model"
    assert {"config.json", "tokenizer.json", "preprocessor_config.json", "chat_template.jinja"} <= set(
        os.listdir(model)
    )
    assert len(load_file(str(model / "model.safetensors"))) > 50
    assert not list(model.glob("*.bin")), "pickles are not handed on"
    assert [path.name for path in folder.glob("checkpoint-*")] in (["checkpoint-10"], ["checkpoint-20"])
    report = json.loads((folder / "report.json").read_text())
    assert report["training"]["identity"] == identity
    assert report["training"]["steps"] == 20
    html = (folder / "report.html").read_text()
    assert "12 held-out rows" in html
    assert "The saved model: loads in a new process, 12 of 12 answers reproduced; by transformers" in html
    assert (report["export"]["rows"], report["export"]["equal"]) == (12, 12)
    assert html.count("data:image/png;base64,") == 12
    assert "<svg" in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", ""), "the page must be self-contained"


def test_a_broken_dataset_starts_no_job(home: Path) -> None:
    data = Dataset(home / "data")
    good = data.row(data.image("a.png"))
    held, train = data.write("held.jsonl", [good]), data.write("train.jsonl", [good, data.row("missing.png"), b"{"])
    config = configuration("dataset.digits=null", f"dataset.train={train}", f"dataset.held_out={held}")
    with pytest.raises(DatasetError) as caught:
        run(config)
    assert f"{train}:2: found missing.png" in str(caught.value)
    assert f"{train}:3" in str(caught.value)
    assert not list((home / "state").glob("calls/*"))
    flow_run = latest_run()
    assert flow_run.state_name == "Failed"
    assert "missing.png" in artifacts(flow_run)["dataset"].description


def test_a_killed_training_is_resumed_from_its_newest_whole_checkpoint(home: Path) -> None:
    config = configuration("train.max_steps=25", "train.save_steps=5", "train.restarts=0", UNASKED)
    compute = LocalCompute(home / "state")
    with kill_training_after(compute, checkpoint=10), pytest.raises(JobDied):
        run(config)
    (place,) = (compute.volumes.outputs / "runs").iterdir()
    # One that was being written when the kill came may have no weights yet.
    written = (place / "trainer").glob("checkpoint-*/model-00001-of-00001.safetensors")
    weights = max(written, key=lambda path: int(path.parent.name.split("-")[1]))
    newest = weights.parent
    weights.write_bytes(weights.read_bytes()[:-1])  # torn by the kill
    result = run(config)
    record = records.read_record(place)
    assert record is not None
    assert record["resumed_from"] not in (None, newest.name)
    assert (place / "quarantine" / newest.name).is_dir()
    points = [json.loads(line)["step"] for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert points == sorted(set(points)), "a step was logged twice"
    assert points[-1] == 25
    assert result.trained


def test_a_training_that_dies_resumes_by_itself_and_the_ledger_tells(home: Path) -> None:
    compute = LocalCompute(home / "state")
    with kill_training_after(compute, checkpoint=8):
        result = run(configuration("train.max_steps=18", "train.save_steps=4", UNASKED))
    assert result.trained
    (place,) = (compute.volumes.outputs / "runs").iterdir()
    assert (records.read_record(place) or {})["resumed_from"]
    assert len([call for call in os.listdir(compute.calls) if call.startswith("train-")]) == 2
    run(configuration("train.max_steps=18", "train.save_steps=4", UNASKED))
    first, second = read_ledger(compute)
    assert (first.outcome, second.outcome) == ("completed", "completed")
    assert (first.trained, second.trained, second.training_seconds) == (True, False, 0)
    used = list(read_usage(compute, 0))
    calls = [call for call in used if call.job == "train"]
    assert [call.ended for call in calls] == [False, True], "the first was killed"
    assert first.training_seconds == pytest.approx(sum(call.seconds() for call in calls))
    assert {call.job for call in used if call.ended} == {"train", "evaluate"}
    assert {job: spent.calls for job, spent in first.spent.items()} == {"train": 2, "evaluate": 1}, "all its calls"
    assert sum(spent.seconds for spent in first.spent.values()) == pytest.approx(sum(call.seconds() for call in used))
    assert second.spent == {}
    assert first.identity == second.identity == result.identity
    assert first.metrics["tuned"] == result.tuned
    assert (first.steps, first.gpu, first.engine, first.error) == (18, "cpu", "paddleformers", "")
    assert first.versions["prefect"] == version("prefect")
    best = [path.name for path in (place / "best").iterdir()]
    assert best == [(records.read_record(place) or {})["best_checkpoint"]]
    assert checkpoints.problems(place / "best" / best[0], result.identity, lambda folder: []) == []


def test_a_training_that_costs_too_much_is_stopped_with_a_checkpoint(home: Path) -> None:
    settings = ("train.max_steps=100000", "train.save_steps=100000", "budget.max_hours=0.0025")
    with pytest.raises(BudgetExceeded, match=r"of 0\.0025 h"):
        run(configuration(*settings))
    compute = LocalCompute(home / "state")
    assert running_calls(compute) == {}
    (place,) = (compute.volumes.outputs / "runs").iterdir()
    (saved,) = checkpoints.listed(place / "trainer")
    identity = read_ledger(compute)[0].identity
    assert checkpoints.problems(saved[1], identity, lambda folder: []) == [], "saved at the stop, and whole"
    entry = read_ledger(compute)[-1]
    assert (entry.outcome, "budget.max_hours" in entry.error) == ("failed", True)

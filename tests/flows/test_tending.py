"""The flows read, cleanup and doctor, and what a training tells and holds while it works, through a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.settings import get_current_settings

from compute.local import LocalCompute
from flows.cleanup import Freed, cleanup
from flows.doctor import doctor
from flows.fine_tune import fine_tune
from flows.read_pages import Read, read_pages
from sft.config import load
from sft.errors import BudgetExceeded, InputError, JobError, SftError
from sft.store.volumes import SYNCED
from tests.cli.test_serving import as_trained
from tests.flows.test_end_to_end import artifacts, latest_run

pytestmark = pytest.mark.usefixtures("prefect_server", "one_reader", "one_look")
LIMIT = "cards"
NO_BOUND = 0.8  # share of the month's bound from which it is told


@pytest.fixture
def limit() -> Iterator[str]:
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=1, active=True))
        yield LIMIT
        client.delete_global_concurrency_limit_by_name(LIMIT)


def events(kind: str) -> list[dict[str, Any]]:
    """The events of a kind, once there is one."""
    asked, end = {"filter": {"event": {"name": [kind]}}}, time.monotonic() + 60
    while time.monotonic() < end:
        answer = httpx.post(f"{get_current_settings().api.url}/events/filter", json=asked, timeout=60)
        found: list[dict[str, Any]] = answer.json()["events"]
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"no {kind}")


def test_a_training_holds_a_slot_and_says_that_the_month_nears_its_bound(home: Path, limit: str) -> None:
    settings = ["dataset.digits.train_rows=64", "dataset.digits.held_out_rows=8", "train.max_steps=100000"]
    settings += ["train.save_steps=100000", "train.logging_steps=1", f"gpu_limit={limit}", "name=costly"]
    settings += ["budget.prices.cpu=3600", "budget.max_cost_per_month=1"]
    seen = set()

    def look() -> None:
        with get_client(sync_client=True) as client:
            while not done:
                seen.add(client.read_global_concurrency_limit_by_name(limit).active_slots)
                time.sleep(0.2)

    done: list[bool] = []
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        with pytest.raises(BudgetExceeded, match="max_cost_per_month"):
            fine_tune(load("smoke", settings).config)
        done.append(True)
    looking.result()
    with get_client(sync_client=True) as client:
        left = client.read_global_concurrency_limit_by_name(limit).active_slots
    assert (seen, left) == ({0, 1}, 0)
    run = latest_run()
    (place,) = (home / "state" / "volumes" / "outputs" / "runs").iterdir()
    assert run.name == f"smoke costly {place.name}"
    assert set(run.tags) == {"smoke", "costly", place.name}
    told = [event for event in events("sft.budget") if event["payload"]["name"] == "costly"]
    assert len(told) == 1, "once a training"
    assert told[0]["payload"]["bound"] == 1
    assert told[0]["payload"]["spent"] >= NO_BOUND
    assert f"prefect.flow-run.{run.id}" in str(told[0]["related"])


def test_pages_are_read_room_is_made_and_all_is_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = LocalCompute(home / "state")
    args, _ = as_trained(compute)
    config = load("smoke", ["evaluate.max_new_tokens=8"]).config
    pages = sorted((compute.state / "digits" / "held_out").iterdir())[:2]
    folder = home / "new"
    folder.mkdir()
    for number, page in enumerate(pages):
        (folder / f"{number}.png").write_bytes(page.read_bytes())
    read = read_pages([str(folder)], args.identity[:16], "ocr", "answers", config)
    assert isinstance(read, Read)
    assert [(home / "answers" / f"{name}.md").read_text().strip().isdigit() for name in read.pages] == [True, True]
    assert "| 0 | " in artifacts(latest_run())["pages"].data
    calls = len(list(compute.calls.glob("infer-*")))
    (folder / "broken.png").write_bytes(b"none")
    with pytest.raises(JobError, match=r"2 pages are read, but 1 file could not be(?s:.*)broken\.png"):
        read_pages([str(folder)], args.identity[:16], "ocr", "answers", config)
    assert latest_run().name == f"{args.identity[:16]}: {folder}"[:80]
    with pytest.raises(InputError, match=r"(?s)nowhere.*no such task"):
        read_pages([str(home / "nowhere")], "base", "riddle", "answers", config)
    assert len(list(compute.calls.glob("infer-*"))) == calls + 1, "nothing is started by what is wrong"

    run = compute.volumes.run(args.identity)
    (run / "trainer" / "checkpoint-2").mkdir(parents=True)
    (run / "trainer" / "checkpoint-2" / "optimizer").write_bytes(b"0" * 1000)
    assert freed(cleanup(config, 0, 0)) == (0, True), "no machine has a copy of the model"
    assert "not synced to any machine" in artifacts(latest_run())["cleanup"].data
    (run / SYNCED).write_text("{}")
    assert freed(cleanup(config, 0, 0)) == (1000, True)
    assert "1 trainings would be freed; remove: true does it" in str(latest_run().state)
    assert (run / "trainer").exists()
    assert freed(cleanup(config, 0, 0, remove=True)) == (1000, False)
    assert (run / "model").exists()
    assert not (run / "trainer").exists()

    assert doctor(config, ["python"]) == 1
    with pytest.raises(InputError):
        doctor(config, ["no such check"])
    monkeypatch.setenv("MODAL_CONFIG_PATH", str(home / "none"))
    with pytest.raises(SftError, match="1 of 1 checks failed"):
        doctor(load("full", ["dataset.volume=x"]).config, ["python"])
    assert "| ✗ | token | " in artifacts(latest_run())["doctor"].data


def freed(result: object) -> tuple[int, bool]:
    assert isinstance(result, Freed)
    return result.freed, result.dry_run

"""Prices and bills, through Modal's unmodified client: its own rates count, and a month is laid beside its bill."""

from __future__ import annotations

import calendar
import json
import subprocess
import time
from pathlib import Path

import pytest
from grpclib import Status
from modal_proto import api_pb2

from compute.local import LocalCompute
from runs.prices import Prices
from runs.reconciling import span
from sft.config import load
from sft.errors import InputError
from sft.store import records
from sft.store.usage import FOLDER, Usage
from tests.support import modal_runs
from tests.support.modal_runs import SFT, environment

# As `modal billing rates --json` gives them (recorded in public repositories, autumn 2026); USD for an hour.
RATES = {
    "cpu_hour_cost": "0.0473",
    "mem_gib_hour_cost": "0.008",
    "gpu_hour_cost_a100_80gb": "2.5",
    "gpu_hour_cost_a10g": "1.1",
    "gpu_hour_cost_h100": "3.95",
    "volume_storage_gib_month_cost": "0.09",
}
HOUR = 2.5 + 8 * 0.0473 + 32 * 0.008  # of the profile full: the card, 8 cores, 32 GiB
FULL = ["dataset.train=a", "dataset.held_out=b"]
APP = "paddleocr-vl-sft"


def item(app: str, day: float, cost: str, **by: str) -> api_pb2.WorkspaceBillingReportItem:
    found = api_pb2.WorkspaceBillingReportItem(object_id=f"ap-{app}", description=app, cost=cost, cost_by_resource=by)
    found.interval.FromSeconds(int(day))
    return found


def test_an_hour_is_the_card_with_the_cores_and_the_memory_that_its_container_reserves() -> None:
    rates = {key: float(value) for key, value in RATES.items()}
    prices = Prices(load("full", [*FULL, "budget.prices={L4: 9, A100-80GB: 9}"]).config, rates, "2026-11-27")
    assert prices.hourly("A100-80GB") == pytest.approx(HOUR)
    assert prices.hourly("A10") == pytest.approx(1.1 + HOUR - 2.5), "A10G is the older name of A10"
    assert prices.hourly("A100-80GB,H100") == prices.hourly("H100!") == pytest.approx(3.95 + HOUR - 2.5)
    assert (prices.hourly("L4"), prices.hourly("T4")) == (9, None), "typed, where Modal names none"
    assert prices.hourly("A100-80GB:4") == pytest.approx(4 * 2.5 + HOUR - 2.5), "four cards in one container"
    assert prices.hourly("L4:2") == 18
    assert prices.hourly("cpu") == pytest.approx(HOUR - 2.5)
    assert prices.source == "Modal's rates of 2026-11-27"


def noted(folder: Path, identity: str, job: str, began: float, hours: float) -> None:
    usage = Usage(call_id=job, job=job, identity=identity, gpu="A100-80GB", began=began, seen=began + 3600 * hours)
    records.write_json(folder / FOLDER / usage.file, usage.model_dump() | {"ended": True})


def test_a_month_beside_its_bill(tmp_path: Path) -> None:
    """The notes by run and step, priced by Modal's rates; the bill; the difference; what is on one side only."""
    began = calendar.timegm((2026, 10, 30, 12, 0, 0))
    with modal_runs.serving(tmp_path / "server") as server:
        outputs = server.folder("vo-paddleocr-vl-outputs")
        noted(outputs, "a" * 64, "train", began, 2.0)
        noted(outputs, "a" * 64, "check_export", began, 0.5)
        noted(outputs, "", "infer", began, 0.25)
        noted(outputs, "a" * 64, "evaluate", calendar.timegm((2026, 10, 31, 23, 0, 0)), 2.0)  # half of it in November
        entry = {"id": "20261030-120000-a", "name": "receipts", "started": began, "identity": "a" * 64}
        records.write_json(outputs / "ledger" / "20261030-120000-a.json", entry)
        day = calendar.timegm((2026, 10, 30, 0, 0, 0))
        server.billed = [
            item(APP, day, "9.00", gpu_a100_80gb="8.00", cpu="1.00"),
            item(APP, day + 86_400, "4.00", gpu_a100_80gb="4.00"),
            item(APP, day + 2 * 86_400, "70.00"),  # November
            item("another", day, "5.00"),
        ]
        server.rates = RATES
        env = environment(server, tmp_path)

        def cost(*more: str) -> subprocess.CompletedProcess[str]:
            settings = [part for each in (*FULL, *more) for part in ("--set", each)]
            command = [SFT, "cost", "2026-10", "--profile", "full", *settings]
            return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)

        said = cost()
        assert said.returncode == 0, said.stdout + said.stderr
        cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in said.stdout.splitlines()]
        rows = {tuple(row[:2]): row[2:] for row in cells if len(row) == 6}
        assert rows["receipts", "train"] == ["A100-80GB", "1", "2.00", f"{2 * HOUR:.2f}"]
        assert rows["receipts", "check-export"][2:] == ["0.50", f"{HOUR / 2:.2f}"]
        assert rows["receipts", "evaluate"][2:] == ["1.00", f"{HOUR:.2f}"], "what it worked in October"
        assert rows["(no run)", "infer"][2:] == ["0.25", f"{HOUR / 4:.2f}"]
        bills = {row[0]: row[1:] for row in cells if len(row) == 3}
        assert bills[APP] == ["13.00", "gpu_a100_80gb 12.00, cpu 1.00"]
        assert f"billed − noted: {13 - 3.75 * HOUR:+.2f} USD" in said.stdout
        assert "1 other apps of the workspace: 5.00 USD" in said.stdout
        assert "Modal's rates of" in said.stdout
        typed = cost("budget.prices={A100-80GB: 10}", "budget.currency=EUR", "budget.prices_as_of=2026-01-01")
        assert "37.50" in typed.stdout, "3.75 h × 10"
        assert "prices of 2026-01-01" in typed.stdout
        assert "not compared" in typed.stdout
        server.refused["WorkspaceBillingRates"] = server.refused["WorkspaceBillingReport"] = Status.PERMISSION_DENIED
        refused = cost("budget.prices={A100-80GB: 10}")
        assert refused.returncode == 1
        assert "does not give its billing report to this token" in refused.stderr
        assert "Usage and billing" in refused.stderr


def test_a_month_is_billed_in_utc_and_this_one_up_to_the_last_midnight() -> None:
    assert span("2026-02") == (calendar.timegm((2026, 2, 1, 0, 0, 0)), calendar.timegm((2026, 3, 1, 0, 0, 0)))
    assert span("2025-12")[1] == calendar.timegm((2026, 1, 1, 0, 0, 0))
    begin, end = span(time.strftime("%Y-%m", time.gmtime()))
    assert begin <= end <= time.time()
    assert end % 86_400 == 0
    with pytest.raises(InputError, match="still to come"):
        span("2999-12")


def test_on_this_machine_there_are_notes_and_no_bill(home: Path) -> None:
    compute = LocalCompute(home / "state")
    noted(compute.volumes.outputs, "", "train", time.time() - 60, 0.01)
    command = [SFT, "cost", "--set", "budget.prices={A100-80GB: 100}"]
    said = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    assert "1.00" in said.stdout
    assert "billed" not in said.stdout
    assert json.dumps(said.stdout).count("Modal") == 0

"""What trains nothing and is paid for has its entry, too: in the history and the month's cost, never among the runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from cli.cost import cost_tables
from cli.history import history_table, json_lines
from compute.local import LocalCompute
from compute.records import put_json
from runs import calls
from runs.account import paid
from runs.ledger import Entry, read_ledger
from runs.prices import Prices
from runs.reconciling import this_month
from sft.config import load
from sft.config.model import RunConfig
from sft.store import records
from sft.store.usage import FOLDER, Usage
from tests.support.modal_runs import SFT

CONFIG = load("smoke", ["budget.prices={cpu: 36}", "name=receipts"]).config  # 0.01 a second


def shown(config: RunConfig, last: int) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(history_table(config, last))
    for table in cost_tables(config, this_month()):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def called(compute: LocalCompute, call: str, job: str, seconds: float) -> None:
    calls.following(compute, call)
    began = time.time()
    usage = Usage(call_id=call, job=job, identity="", gpu="cpu", began=began, seen=began + seconds, ended=True)
    records.write_json(compute.volumes.outputs / FOLDER / usage.file, usage.model_dump())


def ran(compute: LocalCompute, name: str, started: float) -> None:
    entry = Entry(id=name, name="receipts", started=started, outcome="completed", trained=True)
    put_json(compute, "outputs", f"ledger/{name}.json", entry.model_dump())


def test_what_was_only_read_is_paid_for_by_name_and_counted_as_no_run(home: Path) -> None:
    compute = LocalCompute(home / "state")
    ran(compute, "20260101-000000-aaaaaaaa", time.time() - 9e6)
    ran(compute, "20260102-000000-bbbbbbbb", time.time() - 8e6)
    for number, seconds in enumerate((100, 200)):
        own = LocalCompute(home / "state")  # a run has one of its own
        with paid(CONFIG, own, "evaluate", "0.9B, 1.6 on http://me:planted@host/rows.jsonl"):
            called(own, f"c{number}", "compare", seconds)

    def interrupted() -> None:
        with paid(CONFIG, own, "read", "3 pages with champion"):
            called(own, "c9", "infer", 50)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [entry.id[:8] for entry in read_ledger(compute)] == ["20260101", "20260102"], "the runs are the runs"
    text = shown(CONFIG, 1)
    assert "2 runs in the ledger and 3 others that trained nothing" in text
    assert "evaluate ×2: 2 completed" in text
    assert "read: cancelled: Ctrl-C" in text
    assert "3.00 USD" in text
    assert "planted" not in text
    assert "2026-01-01" not in text
    (compared,) = [line for line in text.splitlines() if "compare" in line]
    assert compared.split("│")[1].strip() == "receipts"
    assert "(no run)" not in text
    every = [json.loads(line) for line in json_lines(CONFIG, 1)]
    assert [entry["kind"] for entry in every] == ["run", "evaluate", "evaluate", "read"]
    assert every[1]["calls"] == ["c0"]
    assert every[2]["cost"] == pytest.approx(2.0)


def test_pages_that_are_read_by_hand_stand_in_the_ledger_and_need_no_prefect(home: Path) -> None:
    body = (
        "import sys; from PIL import Image; from pathlib import Path; from sft.config import load\n"
        "from runs.reading import read_sources\n"
        "Image.new('RGB', (64, 32)).save('a.png')\n"
        "config = load('smoke', ['evaluate.max_new_tokens=2']).config\n"
        "assert len(list(read_sources(config, ['a.png'], 'base', 'ocr', Path('read')))) == 1\n"
        "assert 'prefect' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", body], cwd=home, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([SFT, "history", "--json"], cwd=home, capture_output=True, text=True, timeout=60)
    (entry,) = [json.loads(line) for line in said.stdout.splitlines()]
    assert (entry["kind"], entry["outcome"], entry["about"]) == ("read", "completed", "1 pages with base")
    assert entry["spent"]["infer"]["calls"] == 1


def test_the_container_that_hosts_is_priced_by_its_own_size() -> None:
    full = load("full", ["dataset.train=a", "dataset.held_out=b"]).config
    rates = {"cpu_hour_cost": 0.04, "mem_gib_hour_cost": 0.008}
    assert Prices(full, rates).hourly("host") == pytest.approx(0.04 / 4 + 0.008), "not with the training's cores"
    assert Prices(full).hourly("host") == pytest.approx(0.0198, abs=0.001), "as Modal's price page says"
    euros = load("full", ["dataset.train=a", "dataset.held_out=b", "budget.currency=EUR"]).config
    assert Prices(euros).hourly("host") is None

"""What goes wrong around the program, as a person meets it: one message with a next step, before anything starts."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sft.models.second_reader import VARIABLE
from tests.conftest import Dataset

SFT = str(Path(sys.executable).with_name("sft"))
SMALL = "ulimit -f 8; "  # the disk takes no more than 4 KiB (dash) or 8 KiB (bash) of a file
RUN = "run full --set dataset.train=good.jsonl --set dataset.held_out=held.jsonl"
SMOKE = "run smoke"
TOKEN = {"MODAL_TOKEN_ID": "ak-planted", "MODAL_TOKEN_SECRET": "as-planted"}
AWAY = {**TOKEN, "MODAL_SERVER_URL": "http://127.0.0.1:9"}
PROXY = {**TOKEN, "HTTPS_PROXY": "http://me:planted@127.0.0.1:9"}
STARTED = 4.0  # seconds of processor time for wrong input: twice what a quiet machine takes (docs/operations.md)

# command, environment, exit code, what is said, and with which next step
FAULTS: tuple[tuple[str, dict[str, str], int, str, str], ...] = (
    ("validate s3://bucket/rows.jsonl", {}, 2, "s3://bucket/rows.jsonl: it is an address", "aws s3 cp"),
    ("import https://h/set?sig=planted a.jsonl", {}, 2, "https://h/set?…: it is an address", "copy it here first"),
    ("import me/slips a.jsonl", {}, 2, "no such file or folder", "hf download --repo-type dataset me/slips"),
    ("import good.jsonl . --force", {}, 2, "it is a folder, and a file is to be written", "all.jsonl"),
    ("fetch-images broken.jsonl a.jsonl", {}, 2, "broken.jsonl:2: the row is broken", "sft validate broken.jsonl"),
    ("split good.jsonl --held-out 30", {}, 2, "--held-out: the share", ""),
    ("convert good.jsonl good.jsonl/a.jsonl --to messages", {}, 2, "good.jsonl", "choose another"),
    ("fetch-images good.jsonl good.jsonl/a.jsonl", {}, 2, "good.jsonl", "choose another"),
    ("validate good.jsonl --report good.jsonl/page.html", {}, 2, "good.jsonl", "choose another"),
    ("infer ftp://me:planted@host/a.png --profile smoke", {}, 2, "only http and https", "wget"),
    ("infer a.png --task tabel", {}, 2, "no such task (found tabel)", "use ocr, table"),
    ("infer a.png --out good.jsonl/read", {}, 2, "a file is in its place", "choose another folder"),
    ("run smoke --set output.folder=good.jsonl", {}, 2, "a file is in its place", "choose another folder"),
    (f"{SMOKE} --set evaluate.backend=transformers", {VARIABLE: ""}, 2, "not installed here", "run make torch"),
    ("infer none.png", {}, 2, "no such file or folder (found none.png)", "correct the path"),
    ("run full", {}, 2, "dataset.train: the dataset file does not exist", "--set dataset.train=PATH"),
    ("run full --set dataset.train=https://h/t.jsonl?sig=planted", {}, 2, "not an address", "copy the file"),
    ("run full --set dataset.train=~/good.jsonl --set dataset.held_out=~/none.jsonl", {}, 2, "held_out", "--set"),
    ("run full --set dataset.train=good.jsonl --set dataset.held_out=empty.jsonl", {}, 2, "is empty", "one JSON"),
    (RUN, {}, 1, "there is no token for Modal", "modal token new"),
    (RUN, AWAY, 1, "127.0.0.1:9: Modal cannot be reached", "MODAL_SERVER_URL"),
    (RUN, PROXY, 1, "proxy in the environment needs a package", "api-proxy-support"),
    ("doctor full", {}, 1, "there is no token for Modal", "modal token new"),
    ("doctor full", AWAY, 1, "127.0.0.1:9: Modal cannot be reached", "MODAL_SERVER_URL"),
    ("deploy", PROXY, 1, "proxy in the environment needs a package", "api-proxy-support"),
    (SMOKE, {"SFT_HOME": "good.jsonl"}, 2, "a file is in its place", "choose another folder"),
    (SMOKE, {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, 1, "Prefect's API does not answer", "prefect server start"),
)


@pytest.mark.parametrize(("command", "variables", "code", "said", "next_step"), FAULTS)
def test_it_is_one_message_at_once_with_a_next_step(
    tmp_path: Path, command: str, variables: dict[str, str], code: int, said: str, next_step: str
) -> None:
    data = Dataset(tmp_path)
    data.write("good.jsonl", [data.row(data.image("a.png"))])
    data.write("held.jsonl", [data.row(data.image("b.png", 9))])
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "broken.jsonl").write_bytes((tmp_path / "good.jsonl").read_bytes() + b'{"image_info": []}\n')
    (tmp_path / "folder").mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = sft(tmp_path, f"{SFT} {command}", variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = process.stdout + process.stderr
    assert process.returncode == code, text
    assert said in text
    assert next_step in text.partition("Next: ")[2]
    assert "Traceback" not in text
    assert "planted" not in text
    assert process.stderr.count("error:") == 1
    _, *more = process.stderr.strip().splitlines()
    assert all(line.startswith(("  - ", "Next: ")) for line in more), "one message, or a list of what is wrong"
    assert not (tmp_path / "prefect").exists(), "a server was started"
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert taken < STARTED, f"{taken:.1f} s of processor time"


@pytest.mark.parametrize(
    "command", ["import pages out.jsonl", "split all.jsonl", "convert all.jsonl o.jsonl --to messages"]
)
def test_a_disk_that_takes_no_more_is_said_and_leaves_nothing_behind(tmp_path: Path, command: str) -> None:
    data = Dataset(tmp_path / "pages")
    for name in "ab":
        data.image(f"{name}.png")
        (tmp_path / "pages" / f"{name}.txt").write_text("word " * 4000)
    rows = Dataset(tmp_path)
    rows.write("all.jsonl", [rows.row(rows.image(f"{n}.png", n), "word " * 4000) for n in range(4)])
    before = sorted(tmp_path.rglob("*"))
    process = sft(tmp_path, f"{SMALL}{SFT} {command}", {})
    assert process.returncode == 1, process.stdout + process.stderr
    assert ".jsonl: the file may not become so large. Next: " in process.stderr
    assert "Traceback" not in process.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_a_stream_that_is_closed_stops_nothing(tmp_path: Path, closed: str) -> None:
    process = sft(tmp_path, f"{SFT} status smok {closed}", {})
    assert process.returncode == 2, process.stderr
    assert "Traceback" not in process.stderr
    assert sft(tmp_path, f"{SFT} status {closed}", {}).returncode == 0


@pytest.mark.parametrize("module", ["cli.run", "sft.config"])
def test_ctrl_c_while_it_is_imported_is_no_traceback(tmp_path: Path, module: str) -> None:
    """The signal comes in the middle of the import of a module: before the command's body, and in it."""
    body = (
        "import importlib.abc, os, signal, sys\n"
        "class Pressed(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Pressed())\n"
        "sys.argv = ['sft', 'plan', 'smoke']\n"
        "from cli.main import main\n"
        "main()"
    )
    process = sft(tmp_path, f'{sys.executable} -c "{body}"', {})
    assert process.returncode == 130, process.stderr
    assert "Traceback" not in process.stderr


def test_a_fault_of_the_program_keeps_its_traceback_in_a_file(tmp_path: Path) -> None:
    body = (
        "import typer; from cli.base import guarded\n"
        "def broken(out): raise ZeroDivisionError('https://me:planted@host/x?sig=planted')\n"
        "try: guarded(broken)\n"
        "except typer.Exit as end: print('exit', end.exit_code)"
    )
    process = sft(tmp_path, f'{sys.executable} -c "{body}"', {})
    assert process.stdout == "exit 1\n", process.stderr
    (fault,) = (tmp_path / "state" / "faults").iterdir()
    assert str(fault) in process.stderr
    assert "in broken" in fault.read_text()
    assert "planted" not in process.stderr + fault.read_text()


def test_names_that_no_terminal_can_write_stop_nothing(tmp_path: Path) -> None:
    process = sft(tmp_path, f"{SFT} validate $(printf 'r\\377.jsonl')", {"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert process.returncode == 2, process.stderr
    assert "does not exist" in process.stderr


def sft(folder: Path, line: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A line for the shell, with nothing of this machine's settings."""
    outside = ("PREFECT_", "MODAL_", "HTTP", "http", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "HF_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
    environment |= {"SFT_HOME": str(folder / "state"), "PREFECT_HOME": str(folder / "prefect"), "HOME": str(folder)}
    environment |= {"MODAL_CONFIG_PATH": str(folder / "none.toml"), "PYTHONWARNINGS": "ignore", **variables}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )

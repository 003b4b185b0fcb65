"""docs/extending.md, followed to the letter in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("sft", "compute", "modal_infra", "runs", "tasks", "flows", "configs")
BLOCK = re.compile(
    r"^`(?P<file>[\w./]+)` \((?:new file|behind the line `(?P<line>[^`\n]+)`)\)\n\n```\w+\n(?P<text>.*?)^```",
    re.M | re.S,
)

# What somebody who has followed the page would try.
TRY = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from compute.local import LocalCompute
from sft import metrics
from sft.config import load
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate_file
from sft.engines import ENGINES
from sft.jobs.examples import SPEC
from sft.engines.base import Folders

home = Path(sys.argv[1])
assert load("receipts", []).config.promote.margin == 0.01
assert load("receipts", ["engine=quick"]).config.engine == "quick"
Image.new("L", (56, 28)).save(home / "a.png")
said = [{"role": "user", "content": "<image>OCR:"}, {"role": "assistant", "content": "WHY ALL IN CAPITALS"}]
row = {"messages": said, "images": ["./a.png"]}
(home / "rows.jsonl").write_text(json.dumps(row) + "\\n")
report = validate_file(home / "rows.jsonl", DatasetConfig(workers=1))
assert list(report.counts) == ["shouting"], report.counts
assert metrics.judge(["abcd"], ["abc"], ["length"]).error[0] == 0.25
folders = Folders(*(home / name for name in ("base", "rows.jsonl", "out", "logs", "train.yaml")))
assert ENGINES["quick"].command(SPEC, folders, None).config["dataloader_num_workers"] == 4
compute = LocalCompute(home / "state")
(compute.volumes.models / "one").mkdir()
from prefect.logging import disable_run_logger
from tasks.count_models import count_models
with disable_run_logger():
    assert count_models.fn(compute) == 1
import yaml
from flows.deployments import profile, resolve
mine, *_ = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
carried = profile(mine["build"][0]["flows.deployments.profile"]["name"])
assert resolve(carried["config"], carried["version"])[0].config == load("receipts").config
import flows.fine_tune
assert flows.fine_tune.count_models is count_models
print("all of it works")
"""


def test_what_the_page_says_works(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for room in ROOMS:
        shutil.copytree(ROOT / room, project / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", project)
    blocks = list(BLOCK.finditer((ROOT / "docs" / "extending.md").read_text()))
    assert len(blocks) == 17
    for block in blocks:
        path = project / block["file"]
        if block["line"] is None:
            assert not path.exists(), path
            path.write_text(block["text"])
            continue
        text = path.read_text()
        assert text.count(block["line"] + "\n") == 1, f"{path} has no line {block['line']!r}"
        path.write_text(text.replace(block["line"] + "\n", block["line"] + "\n" + block["text"]))
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(tmp_path)],
        cwd=project,
        env={"PYTHONPATH": str(project), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "all of it works" in done.stdout, done.stderr[-3000:]

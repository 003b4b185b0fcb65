"""Does the pipeline slow the trainer down, and what does it add around it?"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from benchmarks.harness import Figure, Ran, run, smoke_run
from benchmarks.sizes import size
from sft.engines.base import read_progress

STEPS = size(300, 60)
SETTINGS = ["dataset.digits.train_rows=1000", f"train.max_steps={STEPS}", f"train.save_steps={STEPS // 2}"]
SKIPPED = 2  # progress lines at the start: the trainer warms up


def figures() -> Iterator[Figure]:
    """``sft run smoke``, then the same PaddleFormers config by hand, on the same machine, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command, environment = smoke_run(folder, SETTINGS)
        flow = run(command, environment, folder)
        (place,) = (folder / "state" / "volumes" / "outputs" / "runs").iterdir()
        logs = sorted((folder / "state" / "calls").glob("train-*/log.txt"))
        config = yaml.safe_load((place / "work" / "train.yaml").read_text())
        config |= {"output_dir": str(folder / "by-hand"), "logging_dir": str(folder / "logs")}
        (folder / "by-hand.yaml").write_text(yaml.safe_dump(config))
        trainer = [sys.executable, "-m", "sft.engines.cpu_launcher", "train", str(folder / "by-hand.yaml")]
        threads = {"OMP_NUM_THREADS": "2", "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.getcwd()}
        by_hand = run(trainer, {**environment, **threads}, folder)
        ours = _rate(logs[-1].read_text().splitlines())
        judging = sum(map(_took, (folder / "state" / "calls").iterdir()))
    theirs = _rate(by_hand.output.splitlines())
    yield Figure("steps/s through the flow", ours, theirs, "steps/s (by hand)", "≥ 0.98", ours >= 0.98 * theirs)
    yield _around(flow, by_hand, judging)
    yield Figure("evaluation, export check, gate", judging, by_hand.seconds, "s (by hand)", "none", True)
    yield Figure("peak memory", flow.peak, by_hand.peak, "MB, all processes (by hand)", "none", True)


def _around(flow: Ran, by_hand: Ran, judging: float) -> Figure:
    """All that is around the training but for the judging, which nobody does by hand."""
    ours = flow.seconds - judging
    goal, met = "≤ 15 s + 2 % beyond", ours <= 1.02 * by_hand.seconds + 15
    return Figure("whole pipeline but the judging", ours, by_hand.seconds, "s (by hand)", goal, met)


def _took(call: Path) -> float:
    """Seconds that a call of the judging took; 0 for others."""
    if not call.name.startswith(("predict-", "evaluate-", "check_export-", "promote-")):
        return 0.0
    return (call / "result.json").stat().st_mtime - (call / "request.json").stat().st_mtime


def _rate(lines: Sequence[str]) -> float:
    """The median of the progress lines' own steps/s, without the first ones."""
    rates = [progress.rate for line in lines if (progress := read_progress(line)) is not None]
    return statistics.median(rates[SKIPPED:])

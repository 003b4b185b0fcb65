"""Does the pipeline slow the trainer down, and what does it add around it?"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.harness import Figure, Ran, run, smoke_run
from benchmarks.sizes import size
from sft.engines.base import read_progress

STEPS = size(300, 60)
SETTINGS = ["dataset.digits.train_rows=1000", f"train.max_steps={STEPS}", f"train.save_steps={STEPS // 2}"]
SKIPPED = 2  # progress lines at the start: the trainer warms up


@dataclass(frozen=True)
class Flow:
    """One ``sft run smoke``: ``rate`` of the training in steps/s, ``judging`` in s."""

    ran: Ran
    rate: float
    judging: float

    @property
    def around(self) -> float:
        """Seconds of all but the judging, which nobody does by hand."""
        return self.ran.seconds - self.judging


def figures() -> Iterator[Figure]:
    """The flow, the same PaddleFormers config by hand, and the flow again: the machine's speed drifts."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        flows = [_flow(Path(first))]
        by_hand = _by_hand(Path(first))
        flows.append(_flow(Path(second)))
    hand = median_rate(by_hand.output.splitlines())
    rate, around, judging = (statistics.mean(values) for values in zip(*((f.rate, f.around, f.judging) for f in flows)))
    spread = _spread([flow.rate / hand for flow in flows])
    yield Figure("steps/s through the flow", rate, hand, "steps/s (by hand)", "≥ 0.98", rate >= 0.98 * hand, spread)
    goal, met = "≤ 15 s + 2 % beyond", around <= 1.02 * by_hand.seconds + 15
    spread = _spread([flow.around / by_hand.seconds for flow in flows])
    yield Figure("whole pipeline but the judging", around, by_hand.seconds, "s (by hand)", goal, met, spread)
    yield Figure("evaluation, export check, gate", judging, by_hand.seconds, "s (by hand)", "none", True)
    peak = max(flow.ran.peak for flow in flows)
    yield Figure("peak memory", peak, by_hand.peak, "MB, all processes (by hand)", "none", True)


def _flow(folder: Path) -> Flow:
    ran = run(*smoke_run(folder, SETTINGS), folder)
    calls = folder / "state" / "calls"
    (log,) = calls.glob("train-*/log.txt")
    return Flow(ran, median_rate(log.read_text().splitlines()), sum(map(_took, calls.iterdir())))


def _by_hand(folder: Path) -> Ran:
    """The trainer alone, with the configuration that a run below ``folder`` has written."""
    (place,) = (folder / "state" / "volumes" / "outputs" / "runs").iterdir()
    config = yaml.safe_load((place / "work" / "train.yaml").read_text())
    config |= {"output_dir": str(folder / "by-hand"), "logging_dir": str(folder / "logs")}
    (folder / "by-hand.yaml").write_text(yaml.safe_dump(config))
    trainer = [sys.executable, "-m", "sft.environments.cpu_launcher", "train", str(folder / "by-hand.yaml")]
    threads = {"OMP_NUM_THREADS": "2", "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.getcwd()}
    return run(trainer, {**smoke_run(folder, [])[1], **threads}, folder)


def _took(call: Path) -> float:
    """Seconds that a call of the judging took; 0 for others."""
    if not call.name.startswith(("predict-", "evaluate-", "check_export-", "promote-")):
        return 0.0
    return (call / "result.json").stat().st_mtime - (call / "request.json").stat().st_mtime


def median_rate(lines: Sequence[str]) -> float:
    """The median of the progress lines' own steps/s, without the first ones."""
    rates = [progress.rate for line in lines if (progress := read_progress(line)) is not None]
    return statistics.median(rates[SKIPPED:])


def _spread(ratios: Sequence[float]) -> tuple[float, float]:
    return min(ratios), max(ratios)

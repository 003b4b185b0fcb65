"""What came of a run, for whoever opens it: one page of Markdown. Needs no Prefect."""

from __future__ import annotations

from compute.base import Compute
from runs.results import RunResult, finished_training
from sft.config import RunConfig
from sft.dataset.dropped import describe


def scores(result: RunResult) -> str:
    """The error rates in one line."""
    return f"CER on {result.rows} held-out rows: base {result.base['cer']:.3f}, tuned {result.tuned['cer']:.3f}"


def summary(config: RunConfig, compute: Compute, result: RunResult) -> str:
    """All that somebody who opens the run looks for, with where to go on."""
    base, tuned, profile = result.base, result.tuned, config.profile or config.name
    record = finished_training(compute, result.identity)
    # Earlier records do not know what was used.
    call, used = (record.get("call_id", ""), record.get("left_out")) if record else ("", None)
    rows = f"{used['passes']:g} passes over {used['rows']} rows; {describe(used) or 'none left out'}" if used else ""
    rows = rows.replace("|", "\\|")  # a trainer's own words may have one
    lines = [
        f"## {result.decision or 'Not asked to promote'}",
        f"CER on {result.rows} held-out rows: base **{base['cer']:.3f}**, tuned **{tuned['cer']:.3f}**; "
        f"exactly right: base {100 * base['exact']:.1f} %, tuned {100 * tuned['exact']:.1f} %.",
        "| | |",
        "|---|---|",
        f"| training | `{result.identity[:16]}`{'' if result.trained else ' (had finished before)'} |",
        f"| trained on | {rows} |",
        f"| training's call | {compute.link(call) if call else ''} |",
        f"| model | `{result.model}` |",
        f"| report | `{result.report}` |",
        f"| curves | `sft tensorboard {profile}` |",
        f"| read pages | `sft infer PAGE --model {result.identity[:16]} --profile {profile}` |",
    ]
    return "\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:])

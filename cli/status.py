"""Every training on the outputs volume that a configuration uses: the table of ``sft status``. Needs no Prefect."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.table import Table

from cli.hosting import hosted_now
from compute.base import Compute
from compute.records import read_json
from compute.select import compute_for
from runs.calls import ended_with, running_call, training_key
from runs.results import finished_training, newest_evaluation, open_questions
from sft.config import RunConfig
from sft.jobs.promote import ASKED
from sft.store import champions
from sft.store.appended import entries
from sft.store.volumes import RUNS, run_place


def status_table(config: RunConfig) -> Table:
    """A line for each training: is it running, finished or stopped, is it a champion, and its error rates."""
    compute = compute_for(config)
    table = Table("training", "name", "state", "steps", "base CER", "tuned CER", "finished", title="sft status")
    table.caption = hosted_now(compute) or None
    live = {run_place(c.identity).rpartition("/")[2]: c.name for c in _champions(compute)}
    files: dict[str, list[str]] = {}
    for file in compute.list("outputs", RUNS):
        files.setdefault(file.path.split("/")[1], []).append(file.path)
    for run in sorted(files):
        table.add_row(run, *_row(compute, run, files[run], live.get(run, "")))
    return table


def questions(config: RunConfig) -> Iterator[str]:
    """What waits for a person (``promote.mode: ask``), in any line of runs, each with what to do."""
    compute = compute_for(config)
    paths = (file.path.split("/") for file in compute.list("outputs", champions.FOLDER))
    for name in sorted({path[1] for path in paths if path[2:3] == [ASKED]}):
        line = "" if name == config.name else f" --set name={name}"
        for asked in open_questions(compute, name):
            training = asked.identity[:16]
            command = f"sft promote {config.profile or config.name} {training}{line} --because WHY, or with --refuse"
            yield f"a person is asked about training {training} of {name}: {command}"


def _champions(compute: Compute) -> Iterator[champions.Champion]:
    for file in compute.list("outputs", champions.FOLDER):
        said = read_json(compute, "outputs", file.path) if file.path.endswith("/" + champions.POINTER) else None
        if (champion := champions.known(said, f"outputs/{file.path}")) is not None:
            yield champion


def _row(compute: Compute, run: str, files: list[str], champion_of: str) -> tuple[str, ...]:
    record = finished_training(compute, run)
    running = running_call(compute, training_key(run))
    state = f"running ({running})" if running else "finished" if record else _stopped(compute, run)
    if champion_of:
        state += f", champion of {champion_of}"
    name, steps = (str(record["name"]), str(record["steps"])) if record else ("", _last_step(compute, run))
    finished = time.strftime("%Y-%m-%d %H:%M", time.localtime(record["finished"])) if record else ""
    return (name, state, steps, *_scores(compute, run, files), finished)


def _stopped(compute: Compute, run: str) -> str:
    error = ended_with(compute, training_key(run))
    why = f" ({error.message.splitlines()[0][:120]})" if error is not None and error.message else ""
    return f"stopped{why}: run again to resume"


def _scores(compute: Compute, run: str, files: list[str]) -> list[str]:
    """CER of the base and the tuned model by the newest evaluation; empty texts where there is none."""
    newest = newest_evaluation(compute, files, run)
    return [f"{scores['all']['cer']:.3f}" for scores in (newest["base"], newest["tuned"])] if newest else ["", ""]


def _last_step(compute: Compute, run: str) -> str:
    lines = list(entries(compute.read("outputs", f"{RUNS}/{run}/metrics.jsonl") or b""))
    return str(lines[-1].get("step", "")) if lines else ""

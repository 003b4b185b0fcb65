"""Step evaluate: base and tuned model on the same held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from compute.base import Compute
from compute.records import read_json
from sft.jobs.evaluate import EvaluateArgs
from sft.jobs.predict import PredictArgs
from sft.plan import predict_args
from sft.volumes import run_place
from tasks.following import DELAYS, RETRIES, attach_or_start, follow, is_transient, run_job
from tasks.telling import pass_on, tell

FILES = ("report.html", "report.json", "predictions.jsonl")


@task(
    name="evaluate",
    description="Base and tuned model read the same held-out rows: CER, WER, normalised edit distance, exact match",
    cache_policy=NO_CACHE,  # what has been done is asked of the volumes
    retry_condition_fn=is_transient,
    retries=RETRIES,
    retry_delay_seconds=DELAYS,
)
def evaluate(
    args: EvaluateArgs, training: dict[str, Any], folder: Path, compute: Compute, shards: int = 1
) -> dict[str, Any]:
    """The evaluation's record (see :func:`sft.jobs.evaluate.evaluate`); its files come to ``folder``.

    Raises:
        IntegrityError: the tuned model is damaged or does not load.
    """
    key = args.key(training["model_identity"])
    place = f"{run_place(args.identity)}/evaluation/{key}"
    record = read_json(compute, "outputs", f"{place}/record.json")
    if record is None:
        share_out(compute, key, predict_args(args, shards))
        record = run_job(compute, f"evaluate-{key}", "evaluate", args.model_dump())
    else:
        tell(f"evaluation {key} was done before")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        compute.get("outputs", f"{place}/{name}", folder / name)
    create_markdown_artifact(markdown(record), key="evaluation", description="Base and tuned on the held-out rows")
    create_link_artifact((folder / "report.html").resolve().as_uri(), key="report", link_text="evaluation report")
    base, tuned = record["base"]["all"], record["tuned"]["all"]
    tell(f"CER on {record['rows']} held-out rows: base {base['cer']:.3f}, tuned {tuned['cer']:.3f}")
    return record


def share_out(compute: Compute, key: str, shares: Sequence[PredictArgs]) -> None:
    """Let several calls read the rows at the same time; what each has read is found by the evaluation."""
    names = [f"predict-{key}-{s.which}-{s.shard}of{s.shards}" for s in shares]
    calls = [attach_or_start(compute, name, "predict", share.model_dump()) for name, share in zip(names, shares)]
    for call_id in calls:
        follow(compute, call_id, pass_on)


def markdown(record: dict[str, Any]) -> str:
    """The table of scores: a line for each task and model."""
    lines = [
        "| task | model | rows | CER | WER | normalised edit distance | exactly right |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for group in record["tuned"]:
        for model in ("base", "tuned"):
            s = record[model][group]
            scores = f"{s['cer']:.3f} | {s['wer']:.3f} | {s['ned']:.3f} | {100 * s['exact']:.1f} %"
            lines.append(f"| {group} | {model} | {s['rows']} | {scores} |")
    return "\n".join(lines)

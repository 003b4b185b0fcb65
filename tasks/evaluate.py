"""Step evaluate: base and tuned model on the same held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from compute.base import Compute
from compute.records import read_json
from runs.hosting import hosted
from sft.jobs.evaluate import EvaluateArgs
from sft.report import remarks
from sft.store.contents import Evaluation, Guarded, Training
from sft.store.volumes import run_place
from tasks.following import run_job
from tasks.reading import bring_report, read_in_shares
from tasks.step import step
from tasks.telling import tell


@step("evaluate", "Base, champion and tuned model read the same held-out rows: CER, WER, NED, TEDS, intervals")
def evaluate(args: EvaluateArgs, training: Training, folder: Path, compute: Compute, shards: int = 1) -> Evaluation:
    """The evaluation's record (see :func:`sft.jobs.evaluate.evaluate`); its files come to ``folder``.

    Raises:
        IntegrityError: the tuned model is damaged or does not load.
    """
    key = args.key(training["model_identity"])
    place = f"{run_place(args.identity)}/{args.folder(training['model_identity'])}"
    record = cast("Evaluation | None", read_json(compute, "outputs", f"{place}/record.json"))
    if record is None:
        # What each share has read is found by the evaluation.
        read_in_shares(compute, args, [args.named(which) for which in args.models], args.rows_place, shards, key)
        record = cast("Evaluation", run_job(compute, f"evaluate-{key}", "evaluate", args.model_dump()))
    else:
        tell(f"evaluation {key} was done before")
    bring_report(compute, place, folder, record.get("pictures", 0))
    create_markdown_artifact(markdown(record), key="evaluation", description="Base and tuned on the held-out rows")
    if hosted() is None:  # a link into a container leads nowhere
        create_link_artifact((folder / "report.html").resolve().as_uri(), key="report", link_text="evaluation report")
    ours = " ".join(f"{model} {record[model]['all']['cer']:.3f}" for model in record["models"])
    change = record["differences"]["base"]["all"]["cer"]
    for remark in remarks(record):
        tell(remark)
    tell(
        f"CER on {record['rows']} held-out rows: {ours}; tuned - base "
        f"{change['value']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"
    )
    for guard, judged in sorted(record.get("guards", {}).items()):
        tell(f"guard {guard}, {judged['rows']} rows: {_guarded(judged)}")
    return record


def _guarded(judged: Guarded) -> str:
    """Errors of the models, and the candidate's changes."""
    ours = ", ".join(f"{model} {judged['scores'][model]['all']['error']:.3f}" for model in judged["scores"])
    changes = {model: changes["all"]["error"] for model, changes in judged["differences"].items()}
    told = ", ".join(f"tuned - {model} {change['value']:+.3f}" for model, change in changes.items())
    return f"error {ours}; {told}"


HEAD = (
    *("task", "model", "rows", "error", "CER (95 %)", "WER", "NED", "TEDS-S", "boxes F1"),
    *("exactly right", "empty", "runaway", "cut off"),
)


def markdown(record: Evaluation) -> str:
    """The table of scores, a line for each task and model, then the candidate's differences with their intervals."""
    lines = [
        *(f"- {remark}." for remark in remarks(record)),
        "",
        f"| {' | '.join(HEAD)} |",
        f"|---|---{'|---:' * (len(HEAD) - 2)}|",
    ]
    for group in record["tuned"]:
        for model in record["models"]:
            s = record[model][group]
            low, high = s["intervals"].get("cer", (s["cer"], s["cer"]))
            structure, boxes = ("" if one is None else f"{one:.3f}" for one in (s["structure"], s.get("boxes")))
            scores = f"{s['error']:.3f} | {s['cer']:.3f} ({low:.3f}-{high:.3f}) | {s['wer']:.3f} | {s['ned']:.3f}"
            more = (
                f"{structure} | {boxes} | {100 * s['exact']:.1f} % | {s['empty']} | {s['runaway']} | {s.get('cut', '')}"
            )
            lines.append(f"| {group} | {model} | {s['rows']} | {scores} | {more} |")
    for guard, judged in sorted(record.get("guards", {}).items()):
        lines += ["", f"Guard {guard}, {judged['rows']} rows: " + _guarded(judged)]
    lines += ["", "| tuned minus | task | error | 95 % interval | better in |", "|---|---|---:|---:|---:|"]
    for model, tasks in record["differences"].items():
        for group, metrics in tasks.items():
            if (d := metrics.get("error")) is not None:
                interval = f"{d['low']:+.4f} to {d['high']:+.4f}"
                lines.append(
                    f"| {model} | {group} | {d['value']:+.4f} | {interval} | {100 * d['better']:.1f} % of draws |"
                )
    return "\n".join(lines)

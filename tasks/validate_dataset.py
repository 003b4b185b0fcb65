"""Step validate-dataset: no GPU second is spent on a broken dataset."""

from __future__ import annotations

from prefect.artifacts import create_link_artifact, create_table_artifact

from compute.base import Compute
from compute.select import state_folder
from runs.dataset import dataset_files, limits_for
from sft.config import RunConfig
from sft.dataset.dropped import check_enlarged
from sft.dataset.files import DatasetFiles
from sft.dataset.findings import Report, SplitStats
from sft.dataset.room import check_room
from sft.dataset.validate import validate
from sft.plan import dataset_of, memory_warning, passes, train_spec
from sft.report.dataset import EXAMPLES, write_dataset_report
from tasks.step import step
from tasks.telling import tell


@step("validate-dataset", "Read every row and image header; stop before money is spent on bad data")
def validate_dataset(config: RunConfig, compute: Compute) -> tuple[DatasetFiles, Report]:
    """Validate both files of the dataset; composes the smoke dataset first where the profile asks for it.

    Raises:
        DatasetError: with every error found; nothing was changed.
    """
    files = dataset_files(config, tell)
    limits = limits_for(config, compute, tell)
    report = validate(files.train, files.held_out, config.dataset, limits, dev=files.dev, mix=files.mix)
    judged(config, files, report)
    if room := check_room(files.held_out, report.held_out.format, limits, config.evaluate.max_new_tokens):
        tell(f"warning: {room}")
    return files, report


def judged(config: RunConfig, files: DatasetFiles, report: Report, examples: int = EXAMPLES) -> None:
    """Show the report, and stop the run where it has errors.

    Args:
        examples: rows shown with their images.

    Raises:
        DatasetError: with every error found.
    """
    table = [_row(name, stats) for name, stats in report.named.items()]
    create_table_artifact(table, key="dataset", description=_findings(report))
    page = state_folder() / "reports" / f"dataset-{report.fingerprint[:16]}.html"
    write_dataset_report(page, report, examples=examples, run=run_facts(config, files, report))
    create_link_artifact(page.as_uri(), key="dataset-report", link_text="dataset report")
    for line in report.lines():
        tell(line)
    report.check()
    check_enlarged(report.train, config.train.dropped_rows)
    if warning := memory_warning(config, report.train):
        tell(f"warning {warning}")
    images, dev = sum(stats.images for stats in report.splits), f", {report.dev.rows} dev" if report.dev else ""
    rows = f"{report.train.rows} training and {report.held_out.rows} held-out rows{dev}"
    tell(f"dataset {report.fingerprint[:12]}: {rows}, {images} images, no errors")


def run_facts(config: RunConfig, files: DatasetFiles, report: Report) -> dict[str, int]:
    """What a training would make of the dataset, for the report."""
    amount = dataset_of(config, files, report, "")[1]
    spec, sets = train_spec(config, amount), (report.train, *report.mix.values())
    share = spec.gradient_accumulation_steps / max(passes(config, amount), 1e-9)  # of the rows, in one step
    a_row = sum(stats.text_tokens + stats.image_tokens for stats in sets) / max(1, sum(stats.rows for stats in sets))
    tokens = int(a_row * amount.rows * spec.max_steps * share)
    rows = round(amount.rows * share)
    longest = max((tokens for stats in sets for tokens in stats.tokens), default=0)
    return {
        "steps": spec.max_steps,
        "rows_per_step": rows,
        "max_seq_len": spec.max_seq_len,
        "tokens": tokens,
        "longest": longest,
    }


def _row(name: str, stats: SplitStats) -> dict[str, object]:
    summary = stats.summary()
    tasks = ", ".join(f"{task} {count}" for task, count in sorted(summary["tasks"].items()))

    def span(key: str) -> str:
        return " / ".join(str(value) for value in summary[key])

    return {
        "set": name,
        "rows": stats.rows,
        "images": stats.images,
        "tasks": tasks,
        "tokens a character": ", ".join(f"{name} {rate}" for name, rate in summary["scripts"].items()),
        "characters (min / median / max)": span("lengths"),
        "width px (min / median / max)": span("widths"),
        "height px (min / median / max)": span("heights"),
        "format": stats.format,
    }


def _findings(report: Report) -> str:
    text = "\n".join(report.lines())
    return f"```\n{text}\n```" if text else "No rule is broken."

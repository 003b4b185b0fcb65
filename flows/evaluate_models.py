"""The flow ``evaluate``: any models on the same rows, without a training. Is one good enough, is another better?"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import State, flow
from pydantic import BaseModel

from compute.select import compute_for
from flows.choosing import ended
from flows.deployments import NOTHING, Given
from flows.placing import rows_of
from runs import asked
from runs.account import paid
from runs.checking import check_backend, check_folder
from runs.comparing import conclusion
from runs.readable import check_compared
from runs.rows import HELD_OUT
from sft.config import RunConfig
from sft.errors import check_all
from sft.report.comparison import comparison_remarks
from sft.store.contents import Compared
from tasks.compare import compare
from tasks.ensure_models import ensure_models
from tasks.telling import tell


class Comparison(BaseModel):
    """What a run of the flow came to: the record, and the local folder with report and answers."""

    record: Compared
    folder: Path

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"


def run_name() -> str:
    """The flow run's name in the UI: the models."""
    from prefect.runtime import flow_run

    return ", ".join(map(str, flow_run.parameters["models"]))[:80]


@flow(
    name="evaluate",
    description="Let any models read the same rows and compare them: nothing is trained, and no row is read twice",
    flow_run_name=run_name,
)
def evaluate_models(models: list[str], rows: str = HELD_OUT, config: Given = NOTHING) -> Comparison | State[Comparison]:
    """Validate the rows, fetch the models, read, compare. A cancelled run ends as Cancelled, its jobs stopped.

    Args:
        models: What is compared, the first with each other one: base, champion, a family (0.9B, 1.5, 1.6), the identity
            of a training, IDENTITY/checkpoint-N, a folder with a model, or a repository of the HF Hub.
        rows: Path or address of a JSONL file whose rows no model was trained on; held-out, dev: those of the
            configuration.
        config: The run's values. A deployment fills in those of its profile; what is left out is the profile's.

    Raises:
        SftError: the first step that fails; what was read before it is kept and found by the next run.
    """
    told = lambda result: "; ".join(conclusion(result.record)) or "compared"  # noqa: E731
    return ended(config, lambda settings: steps(settings, models, rows), told)


def steps(config: RunConfig, models: list[str], rows: str) -> Comparison:
    """The steps of the flow, in order."""
    folders = partial(check_folder, Path(config.output.folder))
    check_all(lambda: check_compared(models, rows), folders, lambda: check_backend(config))
    compute = compute_for(config)
    with paid(config, compute, "evaluate", f"{', '.join(models)} on {rows}", tell):
        found = rows_of(config, compute, rows)
        named, identities = ensure_models(config, compute, models)
        args = asked.compare_args(config, found.title, named, identities, found.place, found.fingerprint)
        folder = (Path(config.output.folder) / "evaluations" / f"{found.title}-{args.key()[:8]}").resolve()
        record = compare(args, folder, compute, config.evaluate.shards)
        for remark in comparison_remarks(record):
            tell(remark)
        return Comparison(record=record, folder=folder)

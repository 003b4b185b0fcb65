"""The flow ``doubtful``: which labels are probably wrong, by what a trained model makes of them?"""

from __future__ import annotations

from collections.abc import Sequence
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
from runs.readable import check_doubted
from sft.config import RunConfig
from sft.errors import check_all
from sft.jobs.doubt import TASKS
from sft.store.doubts import Doubted
from tasks.doubt import doubt
from tasks.ensure_models import ensure_models
from tasks.telling import tell

MODEL, ROWS, ODDS = "champion", ("train", "held-out"), 100.0


class Search(BaseModel):
    """What was found in one set: the record, and the local folder with report and tasks."""

    record: Doubted
    folder: Path

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"

    @property
    def tasks(self) -> Path:
        """For a label tool."""
        return self.folder / TASKS[1]

    @property
    def told(self) -> str:
        """What was found, in words."""
        record = self.record
        return f"{record['title']}: {record['doubtful']} of {record['rows']} labels are doubtful"


def run_name() -> str:
    """The flow run's name in the UI: the sets."""
    from prefect.runtime import flow_run

    return f"doubtful: {', '.join(map(str, flow_run.parameters['rows']))}"[:80]


@flow(
    name="doubtful",
    description="Which labels are probably wrong? Those that a trained model reads otherwise, and is sure of it",
    flow_run_name=run_name,
)
def doubtful(
    rows: list[str] = list(ROWS),  # noqa: B006 (Prefect's form shows it, and nobody changes it)
    model: str = MODEL,
    odds: float = ODDS,
    max_rows: int = 0,
    config: Given = NOTHING,
) -> list[Search] | State[list[Search]]:
    """Validate the rows, weigh their labels, read those that the model doubts. A cancelled run ends as Cancelled.

    Args:
        rows: Sets of the configuration (train, held-out, dev), or paths or addresses of JSONL files.
        model: What judges: champion, the identity of a training, or any other model that sft evaluate takes.
        odds: How many times likelier than the label something else has to be.
        max_rows: Rows of each set at most, a sample by task, script and length; 0: all.
        config: The run's values. A deployment fills in those of its profile; what is left out is the profile's.

    Raises:
        SftError: the first step that fails; what was weighed before it is kept and found by the next run.
    """
    told = lambda found: "; ".join(search.told for search in found)  # noqa: E731
    return ended(config, lambda settings: steps(settings, rows, model, odds, max_rows), told)


def steps(config: RunConfig, rows: Sequence[str], model: str, odds: float, max_rows: int) -> list[Search]:
    """The steps of the flow, in order."""
    folders = partial(check_folder, Path(config.output.folder))
    check_all(lambda: check_doubted(rows, model, odds), folders, lambda: check_backend(config))
    compute = compute_for(config)
    with paid(config, compute, "doubtful", f"{model} on {', '.join(rows)}", tell):
        found = [rows_of(config, compute, one, judges=False) for one in rows]
        named, identities = ensure_models(config, compute, [model, "base"])
        searches = []
        for one in found:
            args = asked.doubt_args(config, one.title, named, identities, one.place, one.fingerprint, odds, max_rows)
            folder = (Path(config.output.folder) / "doubtful" / f"{one.title}-{args.key()[:8]}").resolve()
            searches.append(Search(record=doubt(args, folder, compute), folder=folder))
            tell(searches[-1].told)
        return searches

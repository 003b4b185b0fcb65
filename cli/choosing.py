"""Commands that compare: any models on the same rows, and trainings with several hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.base import NAMES, Profile, Settings, guarded, resolved, say
from cli.flow_runs import prefect_defaults, shown
from runs.parts import TYPED
from sft.errors import InputError, check_all

if TYPE_CHECKING:
    from sft.config import RunConfig

PANEL = "Choosing"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for body in (evaluate, sweep, curve, doubtful, relabel):
        app.command(body.__name__, rich_help_panel=PANEL)(body)


def _reading(config: RunConfig) -> Iterator[Callable[[], object]]:
    """What can be seen from here of the reading of rows."""
    from runs.checking import check_backend, check_folder

    yield lambda: check_folder(Path(config.output.folder))
    yield lambda: check_backend(config)


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            help="The first is compared with each other one: base, champion, a family (0.9B, 1.5, 1.6), a training's "
            "identity, IDENTITY/checkpoint-N, a model's folder, or a repository of the HF Hub (owner/name@revision)"
        ),
    ],
    rows: Annotated[
        str,
        typer.Argument(help="JSONL file or address of rows that no model was trained on; held-out, dev: the profile's"),
    ],
    profile: Annotated[
        str, typer.Option(envvar="SFT_PROFILE", help=f"Where and how is read: one of {NAMES}, or a .yaml file")
    ] = "smoke",
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Let any models read the same rows, and compare them. Nothing is trained, and no row is read twice."""

    def body(out: Console) -> None:
        from runs.readable import check_compared

        looks = lambda: check_compared(models, rows)  # noqa: E731
        config = resolved(profile, settings, looks, fits=lambda config: check_all(*_reading(config)))
        from compute.select import compute_for
        from runs.named_models import check_there
        from runs.on_hub import check_named

        compute = compute_for(config)
        check_all(lambda: check_there(config, compute, models), lambda: check_named(config, compute, models))
        prefect_defaults()
        from cli.temporary_server import prefect_api

        wait = prefect_api()  # it starts while the flow is imported
        from flows.evaluate_models import Comparison, evaluate_models
        from runs.comparing import conclusion, table

        result = shown(out, wait, lambda: evaluate_models(models, rows, config, return_state=True)).result()
        assert isinstance(result, Comparison)
        from rich.markdown import Markdown

        out.print(Markdown("\n".join(table(result.record))))
        for line in (*conclusion(result.record), f"report:  {result.report}"):
            say(out, line)

    guarded(body)


def sweep(
    profile: Profile,
    grid: Annotated[
        list[str],
        typer.Option(metavar="KEY=VALUE,VALUE", help="A hyperparameter's values: train.learning_rate=1e-6,5e-6"),
    ],
    halving: Annotated[
        bool, typer.Option(help="Drop the worse half of the trials at a quarter, half, … of the steps")
    ] = True,
    at_once: Annotated[int, typer.Option(min=1, max=16, help="Trials side by side, each on a GPU of its own")] = 1,
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Train with several hyperparameters, keep what reads the dev rows best, and let that one pass the gate."""

    def body(out: Console) -> None:
        from runs.checking import check_first, check_swept
        from sft.config.grid import trials

        fits = lambda config: check_all(lambda: check_swept(config), lambda: trials(config, grid))  # noqa: E731
        config = resolved(profile, settings, fits=fits)
        check_first(config)
        prefect_defaults()
        from cli.temporary_server import prefect_api

        wait = prefect_api()  # it starts while the flow is imported
        from rich.markdown import Markdown

        from flows.sweep import Swept, sweep
        from runs.sweeping import table
        from tasks.picturing import markdown

        asked = {"halve": halving, "at_once": at_once}
        swept = shown(out, wait, lambda: sweep(grid, config, **asked, return_state=True)).result()
        assert isinstance(swept, Swept)
        out.print(Markdown("\n".join(markdown(table(swept.standings, config.promote.metric)))))
        for line in (f"model:   {swept.result.model}", f"report:  {swept.result.report}", swept.result.decision):
            say(out, line)

    guarded(body)


def curve(
    profile: Profile,
    parts: Annotated[str, typer.Option(help="Parts of the training set's documents, at least three")] = TYPED,
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """How many pages do I need? Train on nested parts of them, and say what twice and four times as many would give."""

    def body(out: Console) -> None:
        from runs.checking import CURVE, check_first, check_parts, check_swept

        asked = _numbers(parts)

        def fits(config: RunConfig) -> None:
            check_all(lambda: check_swept(config, what=CURVE), lambda: check_parts(config, asked))

        config = resolved(profile, settings, fits=fits)
        check_first(config)
        prefect_defaults()
        from cli.temporary_server import prefect_api

        wait = prefect_api()  # it starts while the flow is imported
        from rich.markdown import Markdown

        from flows.curve import curve as draw
        from runs.growth import Growth, table, verdict
        from tasks.picturing import markdown

        growth = shown(out, wait, lambda: draw(config, asked, return_state=True)).result()
        assert isinstance(growth, Growth)
        said = ["", *(f"- {line}" for line in verdict(growth))]
        out.print(Markdown("\n".join([*markdown(table(growth)), *said])))

    guarded(body)


def doubtful(
    profile: Profile,
    rows: Annotated[
        list[str] | None,
        typer.Argument(help="train, held-out, dev: the profile's, or a JSONL file or address; else the first two"),
    ] = None,
    model: Annotated[str, typer.Option(help="What judges: champion, a training's identity, any model")] = "champion",
    odds: Annotated[float, typer.Option(help="How many times likelier something else has to be")] = 100.0,
    max_rows: Annotated[int, typer.Option(min=0, help="Rows of each set at most; 0: all")] = 0,
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Which labels are probably wrong? Those that a trained model reads otherwise, and is sure of it: as a page to look
    through, and as tasks for Label Studio. Each label costs one forward pass."""

    def body(out: Console) -> None:
        from runs.readable import check_doubted

        asked = rows or ["train", "held-out"]
        looks = lambda: check_doubted(asked, model, odds)  # noqa: E731
        config = resolved(profile, settings, looks, fits=lambda config: check_all(*_reading(config)))
        from compute.select import compute_for
        from runs.named_models import check_there

        check_there(config, compute_for(config), [model])
        prefect_defaults()
        from cli.temporary_server import prefect_api

        wait = prefect_api()  # it starts while the flow is imported
        from flows.doubtful import doubtful as search

        found = shown(out, wait, lambda: search(asked, model, odds, max_rows, config, return_state=True)).result()
        assert isinstance(found, list)
        for one in found:
            for line in (one.told, f"report:  {one.report}", f"tasks:   {one.tasks}"):
                say(out, line)

    guarded(body)


def relabel(
    source: Annotated[Path, typer.Argument(help="The dataset file that was searched")],
    corrected: Annotated[
        Path, typer.Argument(help="Label Studio's JSON export of the tasks of sft doubtful, or the tasks themselves")
    ],
    target: Annotated[Path, typer.Argument(help="The new file, in the folder of the old one")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file")] = False,
) -> None:
    """Put corrected labels into a dataset file; all else in it stays as it is."""

    def body(out: Console) -> None:
        from sft.dataset.corrections import relabel as put

        changed, unanswered = put(source, corrected, target, force=force)
        say(out, f"{target}: {changed} labels are others now; {unanswered} tasks were not answered")

    guarded(body)


def _numbers(parts: str) -> list[float]:
    try:
        return [float(part) for part in parts.split(",")]
    except ValueError:
        remedy = f"use {TYPED}"
        raise InputError("parts are numbers, by commas", where="--parts", value=parts, remedy=remedy) from None

"""The command ``sft``: thin, on top of the flows. Exit codes: 0 done, 1 failed, 2 wrong input."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli import at_modal as cli_modal
from cli import choosing as cli_choosing
from cli import dataset as cli_dataset
from cli import models as cli_models
from cli.base import NAMES, Profile, Settings, app, guarded, resolved, say
from cli.flow_runs import prefect_defaults, shown
from sft.errors import SftError, check_all

if TYPE_CHECKING:
    from runs.results import RunResult
    from sft.config import RunConfig


def run_flow(config: RunConfig, out: Console, wait: Callable[[], None], *, detach: bool = False) -> RunResult | str:
    """Run the flow with the terminal's view.

    Args:
        wait: returns when Prefect's API answers.
        detach: do not wait for the training once it runs.
    Returns: the result; where there is none (the run was detached or skipped), why.
    Raises:
        JobCancelled: the run was cancelled, and its job stopped.
        SftError: the first step that failed.
    """
    from flows.fine_tune import fine_tune
    from runs.results import RunResult
    from tasks.following import detached

    with detached() if detach else nullcontext():
        state = shown(out, wait, lambda: fine_tune(config, return_state=True))
    if state.name in ("Detached", "Skipped"):
        return f"{state.name.lower()}: {state.message}"
    result = state.result()
    assert isinstance(result, RunResult)
    return result


@app.command()
def run(
    profile: Profile,
    settings: Settings = [],  # noqa: B006 (typer copies it)
    detach: Annotated[bool, typer.Option("--detach", help="Leave the training to itself once it runs")] = False,
    hosted: Annotated[
        bool, typer.Option("--hosted", help="Validate and upload, then let Modal host the run to its end: nobody waits")
    ] = False,
) -> None:
    """Run the whole pipeline: validate, prepare, train, sync, evaluate."""

    def body(out: Console) -> None:
        from runs.checking import check_first, check_hosted
        from sft.config import load

        given = load(profile, settings)
        checks = [lambda: check_hosted(given.config, detach=detach)] if hosted else []
        check_all(*checks, lambda: check_first(given.config))
        if hosted:
            from cli.console import show_resolved
            from cli.hosting import start_hosted

            show_resolved(out, given)
            start_hosted(given.config, lambda text: say(out, text))
            return
        prefect_defaults()
        from cli.console import show_resolved
        from cli.temporary_server import prefect_api

        wait = prefect_api()  # it starts while the flow is imported
        show_resolved(out, given)
        say_result(out, run_flow(given.config, out, wait, detach=detach))

    guarded(body)


def say_result(out: Console, result: RunResult | str) -> None:
    """What came of a run, at its end; a text says why there is nothing else."""
    if isinstance(result, str):
        say(out, result)
        return
    base, tuned = result.base, result.tuned
    say(out, f"model:   {result.model}")
    say(out, f"report:  {result.report}")
    say(out, "runs:    prefect server start, then http://127.0.0.1:4200/runs")
    say(
        out,
        f"CER on {result.rows} held-out rows: base {base['cer']:.3f}, tuned {tuned['cer']:.3f}  "
        f"(exactly right: base {100 * base['exact']:.1f} %, tuned {100 * tuned['exact']:.1f} %)",
    )
    if result.decision:
        say(out, result.decision)


@app.command()
def plan(profile: Profile, settings: Settings = []) -> None:  # noqa: B006 (typer copies it)
    """Show what a run would do: steps, sizes, identities, and what is done already. Nothing is changed."""

    def body(out: Console) -> None:
        from runs.checking import check_first

        config = resolved(profile, settings)
        check_first(config)
        from cli.planning import plan_table

        out.print(plan_table(config))

    guarded(body)


@app.command()
def status(
    profile: Annotated[str, typer.Argument(help=f"Whose volumes: one of {NAMES}, or a .yaml file")] = "smoke",
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Show the trainings on the outputs volume: which run, which have finished, and their error rates."""

    def body(out: Console) -> None:
        config = resolved(profile, settings)
        from cli.status import questions, status_table

        out.print(status_table(config))
        for line in questions(config):
            say(out, line)

    guarded(body)


@app.command()
def history(
    profile: Annotated[str, typer.Argument(help=f"Whose volumes: one of {NAMES}, or a .yaml file")] = "smoke",
    settings: Settings = [],  # noqa: B006 (typer copies it)
    last: Annotated[int, typer.Option(min=0, help="Runs shown, the newest last; 0: all")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print whole records, a line each")] = False,
) -> None:
    """Show every run of the ledger: when, what, on which GPU, how long, at what cost, with which result."""

    def body(out: Console) -> None:
        config = resolved(profile, settings)
        from cli.history import history_table, json_lines

        if as_json:
            for line in json_lines(config, last):
                print(line)
        else:
            out.print(history_table(config, last))

    guarded(body)


@app.command()
def cost(
    month: Annotated[str, typer.Argument(help="YYYY-MM (UTC, as Modal bills); empty: this month")] = "",
    profile: Annotated[str, typer.Option(help=f"Whose volumes: one of {NAMES}, or a .yaml file")] = "smoke",
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Show what a month has cost by run and step, beside what Modal bills, with the difference."""

    def body(out: Console) -> None:
        from runs.reconciling import span, this_month

        asked = month or this_month()
        config = resolved(profile, settings, lambda: span(asked))
        from cli.cost import cost_tables

        for part in cost_tables(config, asked):
            say(out, part) if isinstance(part, str) else out.print(part)

    guarded(body)


@app.command()
def cancel(
    training: Annotated[
        str,
        typer.Argument(help="Its identity, or the start of it; a hosted run's call; empty: the only one that runs"),
    ] = "",
    profile: Annotated[str, typer.Option(help=f"Where: one of {NAMES}, or a .yaml file")] = "smoke",
    now: Annotated[bool, typer.Option("--now", help="At once, without time to save a checkpoint")] = False,
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Stop a training that runs, also one that nobody waits for; it saves a checkpoint if it can. Or a hosted run."""

    def body(out: Console) -> None:
        config = resolved(profile, settings)
        from cli.history import cancel_training

        text = cancel_training(config, training, now=now)
        say(out, text)

    guarded(body)


@app.command()
def doctor(
    profile: Profile,
    settings: Settings = [],  # noqa: B006 (typer copies it)
    quick: Annotated[bool, typer.Option("--quick", help="Only the first few checks")] = False,
    check: Annotated[list[str], typer.Option(help="Only the checks of these names, as they are printed")] = [],  # noqa: B006
) -> None:
    """Check that everything is there that a run of this profile needs, where it would run. Exit code 1 if not."""

    def body(out: Console) -> None:
        config = resolved(profile, settings)
        from cli.temporary_server import may_be_configured
        from runs.examining import examine

        if may_be_configured():
            from flows.doctor import findings_of_deployments as deployed
        else:
            deployed = lambda config: []  # noqa: E731
        findings = examine(config, check, quick=quick, deployed=deployed)
        for finding in findings:
            mark, remedy = ("ok", "") if finding["ok"] else ("FAILED", f"   Next: {finding['remedy']}")
            text = f"{mark:6}  {finding['name']:16} {finding['found']}{remedy}"
            say(out, text)
        failed = [finding["name"] for finding in findings if not finding["ok"]]
        if failed:
            raise SftError(f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")

    guarded(body)


cli_choosing.register(app)
cli_modal.register(app)
cli_dataset.register(app)
cli_models.register(app)


def main() -> Any:
    """The console script."""
    return app()

"""Commands around models: read pages, promote and roll back, publish, clean up, look at curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.base import NAMES, Profile, Settings, guarded, resolved, say
from sft.errors import check_all

PANEL = "Models"
Where = Annotated[str, typer.Option("--profile", envvar="SFT_PROFILE", help=f"One of {NAMES}, or a .yaml file")]
SMOKE = "smoke"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for body in (infer, promote, rollback, publish, cleanup, tensorboard, track):
        app.command(body.__name__, rich_help_panel=PANEL)(body)


def infer(
    sources: Annotated[list[str], typer.Argument(help="Images, PDF files, folders of them, or http(s) addresses")],
    model: Annotated[
        str, typer.Option(help="base, champion, a training's identity from sft status, or IDENTITY/checkpoint-N")
    ] = "champion",
    task: Annotated[
        str,
        typer.Option(
            help="ocr, table, formula, chart, spotting, seal, a name of dataset.prompts, or a prompt: the image as one "
            "element; page: with its layout"
        ),
    ] = "ocr",
    out: Annotated[Path, typer.Option(help="Folder for NAME.md and NAME.json of each page")] = Path("read"),
    rows: Annotated[
        Path | None, typer.Option(help="A new dataset file for the answers, too: for dataset.mix, against unlearning")
    ] = None,
    profile: Where = SMOKE,
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Read pages with the base model, the champion or a training: Markdown and JSON for each page."""

    def body(console: Console) -> None:
        from rich.progress import Progress

        from runs.readable import check_answers, check_reading, check_task

        looks = lambda: check_all(lambda: check_reading(sources, model, out), lambda: check_answers(rows, task))  # noqa: E731
        config = resolved(profile, settings, looks, fits=lambda config: check_task(task, config))
        from runs.reading import read_sources

        with Progress(console=Console(stderr=True), transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("read", total=None)
            said = lambda done, total: progress.update(bar, completed=done, total=total)  # noqa: E731
            for page, text in read_sources(config, sources, model, task, out, said, rows):
                done = f" ({', '.join(page.done)})" if page.done else ""
                say(console, f"{out / page.name}.md: {text.splitlines()[0][:100] if text.strip() else '(empty)'}{done}")
        if rows is not None:
            say(console, f"{rows}: the answers, as rows for dataset.mix; they are no truth, and judge nothing")

    guarded(body)


def promote(
    profile: Profile,
    training: Annotated[str, typer.Argument(help="Its identity, from sft status (16 digits suffice)")],
    force: Annotated[
        bool, typer.Option("--force", help="Also a model whose export was not checked or is broken")
    ] = False,
    because: Annotated[str, typer.Option(help="Why; it stands in the champion's record")] = "",
    refuse: Annotated[
        bool, typer.Option("--refuse", help="Answer no where a run asks (promote.mode ask); --because says why")
    ] = False,
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Put a training into service by hand. The gate is not asked; the export is checked all the same.

    Where a run waits for a decision on the training (promote.mode ask), this is the answer.
    """

    def body(console: Console) -> None:
        from runs.checking import check_answer, check_identity

        config = resolved(
            profile, settings, lambda: check_identity(training), lambda: check_answer(because, refuse, force)
        )
        from cli.announce import announce_decision
        from cli.serving import promote_by_hand, refuse_by_hand

        tell = lambda text: say(console, text)  # noqa: E731
        if refuse:
            identity, said = refuse_by_hand(config, training, because)
            say(console, said)
            announce_decision(config, "sft.refused", identity, said, "hand", tell)
            return
        now = promote_by_hand(config, training, tell, force=force, because=because)
        say(console, f"{now.name}: champion {now.identity[:16]}; sft rollback {profile} goes back")
        said = f"{now.name}: {now.identity[:16]} put into service by {now.who}" + (f": {because}" if because else "")
        announce_decision(config, "sft.promoted", now.identity, said, now.by, tell)

    guarded(body)


def rollback(profile: Profile, settings: Settings = []) -> None:  # noqa: B006 (typer copies it)
    """Put the champion before the present one into service again."""

    def body(console: Console) -> None:
        config = resolved(profile, settings)
        from cli.announce import announce_decision
        from cli.serving import roll_back

        tell = lambda text: say(console, text)  # noqa: E731
        now = roll_back(config, tell)
        said = f"{now.name}: champion {now.identity[:16]} again"
        say(console, said)
        announce_decision(config, "sft.promoted", now.identity, said, "rollback", tell)

    guarded(body)


def publish(
    profile: Profile,
    repo: Annotated[str, typer.Argument(help="Repository on the Hugging Face Hub (owner/name); made if missing")],
    model: Annotated[str, typer.Option(help="champion, or a training's identity")] = "champion",
    public: Annotated[bool, typer.Option("--public", help="Visible to everybody; private otherwise")] = False,
    licence: Annotated[str, typer.Option(help="The model's licence, as the Hub names it")] = "apache-2.0",
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Upload a model with a card made from its records to the Hugging Face Hub. HF_TOKEN must allow writing."""

    def body(console: Console) -> None:
        from runs.checking import check_published

        config = resolved(profile, settings, lambda: check_published(repo, model))
        from cli.serving import publish_model

        tell = lambda text: say(console, text)  # noqa: E731
        address = publish_model(config, repo, model, public=public, licence=licence, say=tell)
        say(console, f"published: {address}" + ("" if public else " (private)"))

    guarded(body)


def cleanup(
    profile: Annotated[str, typer.Argument(help=f"Whose volumes: one of {NAMES}, or a .yaml file")] = SMOKE,
    older_than: Annotated[float, typer.Option(min=0, help="Only trainings that finished so long ago (days)")] = 14,
    keep: Annotated[int, typer.Option(min=0, help="The newest trainings of each name stay")] = 3,
    models: Annotated[
        bool, typer.Option("--models", help="Remove whole trainings, not just their checkpoints")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only show what would go")] = False,
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Show what lies on the outputs volume, and remove what nobody needs: never what is promoted, held or unsynced."""

    def body(console: Console) -> None:
        config = resolved(profile, settings)
        from cli.serving import cleanup_table
        from sft.jobs.maintenance import CleanupArgs

        args = CleanupArgs(older_than=older_than, keep=keep, models=models, dry_run=not yes)
        console.print(cleanup_table(config, args))

    guarded(body)


def tensorboard(
    profile: Annotated[str, typer.Argument(help=f"Whose trainings: one of {NAMES}, or a .yaml file")] = SMOKE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine")] = 6006,
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Serve TensorBoard over the trainings on this machine, or say where Modal serves it."""

    def body(console: Console) -> None:
        config = resolved(profile, settings)
        from cli.serving import tensorboard as serve

        serve(config, port, lambda text: say(console, text))

    guarded(body)


def track(
    profile: Profile,
    training: Annotated[
        str, typer.Argument(help="Send this one (16 digits suffice), also if it was sent; else what was not sent yet")
    ] = "",
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Send to MLflow, Weights & Biases and SwanLab (track.* of the profile) what they lack."""

    def body(console: Console) -> None:
        from cli.tracking import check_trackers

        config = resolved(profile, settings, fits=check_trackers)
        from cli.tracking import send_waiting

        send_waiting(config, training, lambda text: say(console, text))

    guarded(body)

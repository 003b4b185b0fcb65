"""Commands that prepare Modal: deploy, wheels, datasets. What is wrong here is said before a token is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.base import NAMES, Profile, Settings, guarded, resolved, say
from sft.errors import InputError, check_all
from sft.store.shards.choosing import Packing

PANEL = "Modal"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for body in (deploy, sample, upload, upload_wheel):
        app.command(body.__name__.replace("_", "-"), rich_help_panel=PANEL)(body)


def sample(
    profile: Profile = "full",
    name: Annotated[str, typer.Option(help="Which sample set: bengali")] = "bengali",
    settings: Settings = [],  # noqa: B006 (typer copies it)
) -> None:
    """Fetch a public sample set to the data volume, images included; nothing goes through this machine."""

    def body(out: Console) -> None:
        from compute.select import check_modal
        from sft.jobs.fetch_sample import check_sample

        config = resolved(profile, settings, lambda: check_sample(name))
        if config.compute == "modal":
            check_modal()
        from cli.deploying import get_sample

        get_sample(config, name, lambda text: say(out, text))

    guarded(body)


def deploy(
    profile: Annotated[
        str, typer.Argument(help=f"Where its wheel is another, or for its nights: one of {NAMES}, or a .yaml file")
    ] = "",
    settings: Settings = [],  # noqa: B006 (typer copies it)
    with_vllm: Annotated[
        bool, typer.Option("--vllm", help="Also what evaluate.backend=vllm needs; never seen to build or run at Modal")
    ] = False,
    with_night: Annotated[
        bool, typer.Option("--night", help="Also what hosts the flow itself, every night where a profile is named")
    ] = False,
    cron: Annotated[str, typer.Option(help="When the nights are, as crontab says it; empty: as in prefect.yaml")] = "",
    timezone: Annotated[str, typer.Option(help="Of --cron; empty: as in prefect.yaml")] = "",
) -> None:
    """Deploy the functions to Modal: fetch the GPU wheels to the models volume, then build the images from there."""

    def body(out: Console) -> None:
        from compute.select import check_modal
        from runs.checking import check_night

        if settings and not profile:
            raise InputError("--set needs a profile", remedy="sft deploy full --set wheel.url=https://….whl")
        if (cron or timezone) and not (with_night and profile):
            raise InputError(
                "--cron and --timezone are of a profile's nights",
                remedy="sft deploy nightly --night --cron '0 3 * * *'",
            )
        config, asked = None, (cron, timezone)
        if with_night and profile:
            from cli.hosting import check_schedule, schedule

            known = schedule()
            asked = (cron or known[0], timezone or known[1])
            config = resolved(profile, settings, lambda: check_schedule(*asked), fits=check_night)
        elif profile:
            config = resolved(profile, settings)
        check_modal()
        from cli.deploying import deploy_all
        from cli.hosting import deploy_night, night_of

        def tell(text: str) -> None:
            say(out, text)

        night = night_of(config, tell) if with_night and config is not None else None
        deploy_all(tell, config, with_vllm=with_vllm)
        if with_night:
            deploy_night(tell, night, *asked)

    guarded(body)


def upload_wheel(
    path: Annotated[Path, typer.Argument(help="A paddlepaddle_gpu wheel, under its original name")],
) -> None:
    """Put a wheel from this machine on the models volume, where Modal cannot download it."""

    def body(out: Console) -> None:
        from compute.select import check_modal
        from runs.checking import check_wheel

        check_wheel(path)
        check_modal()
        from cli.deploying import put_wheel

        say(out, put_wheel(path))

    guarded(body)


def upload(
    train: Annotated[Path, typer.Argument(help="Training set (JSONL)")],
    held_out: Annotated[Path, typer.Argument(help="Held-out set (JSONL), below the same folder")],
    dev: Annotated[
        Path | None, typer.Option(help="Dev set (JSONL), below the same folder: its rows choose among checkpoints")
    ] = None,
    name: Annotated[
        str, typer.Option("--as", help="A name that means these files from now on: --set dataset.volume=named/NAME")
    ] = "",
    pack: Annotated[
        Packing, typer.Option(help="Send the images as tar shards: auto does from 10,000 files on, or on a full volume")
    ] = "auto",
) -> None:
    """Validate a dataset and copy it to the data volume; content that is there is not sent again."""

    def body(out: Console) -> None:
        from compute.select import check_modal
        from runs.checking import check_dataset, check_name

        check_all(lambda: check_dataset(train, held_out, dev), lambda: check_name(name))
        check_modal()
        from cli.deploying import put_dataset

        say(out, put_dataset(train, held_out, dev, lambda text: say(out, text), name, pack))
        from cli.announce import announce

        announce(train, lambda text: say(out, text))

    guarded(body)

"""Commands that prepare Modal: deploy, wheels, datasets. What is wrong here is said before a token is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.base import NAMES, Profile, Settings, guarded, resolved, say
from sft.errors import InputError

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
    profile: Annotated[str, typer.Argument(help=f"Where its wheel is another: one of {NAMES}, or a .yaml file")] = "",
    settings: Settings = [],  # noqa: B006 (typer copies it)
    with_vllm: Annotated[
        bool, typer.Option("--vllm", help="Also what evaluate.backend=vllm needs; never seen to build or run at Modal")
    ] = False,
) -> None:
    """Deploy the functions to Modal: fetch the GPU wheels to the models volume, then build the images from there."""

    def body(out: Console) -> None:
        from compute.select import check_modal

        if settings and not profile:
            raise InputError("--set needs a profile", remedy="sft deploy full --set wheel.url=https://….whl")
        config = resolved(profile, settings) if profile else None
        check_modal()
        from cli.deploying import deploy_all

        deploy_all(lambda text: say(out, text), config, with_vllm=with_vllm)

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
) -> None:
    """Validate a dataset and copy it to the data volume; content that is there is not sent again."""

    def body(out: Console) -> None:
        from compute.select import check_modal
        from runs.checking import check_dataset

        check_dataset(train, held_out, dev)
        check_modal()
        from cli.deploying import put_dataset

        say(out, put_dataset(train, held_out, dev, lambda text: say(out, text)))
        from cli.announce import announce

        announce(train, lambda text: say(out, text))

    guarded(body)

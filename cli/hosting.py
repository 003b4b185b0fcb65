"""Hosted runs from here: start one, deploy what hosts them and their nights, say which work now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from compute.base import Compute
from compute.select import compute_for
from runs import calls
from runs.hosting import Request, hosted_calls
from runs.preparing import prepare
from sft.config import RunConfig
from sft.config.yaml import read_yaml
from sft.errors import InputError, check_all

Say = Callable[[str], None]
SCHEDULES = Path(__file__).resolve().parents[1] / "prefect.yaml"
NIGHTLY = "nightly"  # the deployment whose schedule nights at Modal have, too
NEXT = (
    "this machine is not needed any more. sft history {profile} shows what came of it, sft cancel --profile {profile} "
    "stops it, and the same command without --hosted follows its training and brings the model"
)


def start_hosted(config: RunConfig, say: Say) -> str:
    """Validate and upload here, then let the flow run at Modal; returns the call's id.

    Raises:
        ComputeError: nothing that hosts flows is deployed.
        DatasetError: the dataset is broken; nothing was sent, nothing was started.
    """
    from compute.modal import check_host
    from modal_infra.names import HOST

    compute = compute_for(config)
    check_host()
    request = Request(config=config, prepared=prepare(config, compute, say), name=config.name)
    call_id, new = calls.attach_or_start(compute, request.key, HOST, request.model_dump(mode="json"))
    link = compute.link(call_id)
    say(f"hosted at Modal: call {call_id} ({link})" if new else f"hosted already: call {call_id} ({link})")
    if new:
        say(costs())
    say(NEXT.format(profile=config.profile or config.name))
    return call_id


def costs() -> str:
    """What the container that hosts a flow costs."""
    from modal_infra.night import CPU, HOURLY, MEMORY_MB, PRICED

    size = f"{CPU:g} core, {MEMORY_MB} MiB"
    return f"the container that hosts it ({size}) costs about {HOURLY:.2f} USD an hour (as of {PRICED}), beside the GPU"


def schedule() -> tuple[str, str]:
    """(cron, timezone) of the nights, as prefect.yaml has them."""
    found = read_yaml(SCHEDULES.read_text(), dict)["deployments"]
    (nightly,) = (deployment for deployment in found if deployment["name"] == NIGHTLY)
    (first, *_) = nightly["schedules"]
    return str(first["cron"]), str(first["timezone"])


def check_schedule(cron: str, timezone: str) -> None:
    """Raises InputError if no schedule is written so: both at once."""

    def when() -> None:
        from cronsim import CronSim, CronSimError

        try:
            CronSim(cron, datetime.now(UTC))
        except CronSimError as error:
            remedy = 'as in crontab, such as --cron "0 2 * * *"'
            raise InputError(f"no schedule is written so: {error}", where="--cron", value=cron, remedy=remedy) from None

    def zone() -> None:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError):
            remedy = "such as --timezone Europe/Berlin"
            raise InputError("there is no such time zone", where="--timezone", value=timezone, remedy=remedy) from None

    check_all(when, zone)


def deploy_night(say: Say, config: RunConfig | None, cron: str, timezone: str) -> None:
    """Deploy what hosts flows, with the nights of a profile or without.

    Args:
        config: what every night runs; its rows lie on the data volume. None: no nights, only ``sft run --hosted``.
    Raises:
        ComputeError: no token, or the image could not be built.
        DatasetError: the rows are not there, or a guard set is broken.
    """
    from cli.deploying import deploy_app
    from compute.modal import known_secret
    from compute.reach import translated
    from modal_infra.names import PREFECT_SECRET
    from modal_infra.night import night_app

    request = None
    if config is not None:
        prepared = prepare(config, compute_for(config), say)
        request = Request(config=config, prepared=prepared, name=config.name).model_dump(mode="json")
    with translated(f"secret {PREFECT_SECRET}"):
        secret = known_secret(PREFECT_SECRET)
    deploy_app(night_app([secret] if secret is not None else [], request, cron, timezone), say)
    if secret is not None:
        say(f"its runs report to the Prefect of the secret {PREFECT_SECRET}")
    else:
        say(f"there is no secret {PREFECT_SECRET}: each run has a Prefect of its own, whose database the volume keeps")
    if config is None:
        say("no nights: sft run PROFILE --hosted starts a run; a profile has nights with sft deploy PROFILE --night")
    else:
        say(f"nights of {config.profile}: {cron} {timezone}, on {config.dataset.volume}; after a change, deploy again")
    say(costs())


def hosted_now(compute: Compute) -> str:
    """The hosted runs that work now, in a line; empty where none does, or where none can."""
    if compute.name == "local":
        return ""
    found = hosted_calls(compute)
    return "hosted at Modal now: " + ", ".join(f"{key} (call {call})" for key, call in found.items()) if found else ""

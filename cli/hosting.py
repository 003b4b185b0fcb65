"""Hosted runs from here: start one, deploy what hosts them and their nights, say which work now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from compute.base import Compute
from compute.select import compute_for
from runs import calls, nights
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
    request = _request(config, compute, say)
    call_id, new = calls.attach_or_start(compute, request.key, HOST, request.model_dump(mode="json"))
    link = compute.link(call_id)
    say(f"hosted at Modal: call {call_id} ({link})" if new else f"hosted already: call {call_id} ({link})")
    if new:
        say(costs())
    say(NEXT.format(profile=config.profile or config.name))
    return call_id


def _request(config: RunConfig, compute: Compute, say: Say) -> Request:
    """What a container is given; rows and guard sets are on the volume afterwards.

    Raises:
        InputError: the run would tell people through blocks of a Prefect that it does not have.
    """
    from modal_infra.names import PREFECT_SECRET

    if config.notify.blocks and not reports():
        blocks = ", ".join(config.notify.blocks)
        remedy = f"modal secret create {PREFECT_SECRET} PREFECT_API_URL=… PREFECT_API_KEY=…; or leave notify out"
        raise InputError("the blocks are those of your Prefect", where="notify.blocks", value=blocks, remedy=remedy)
    return Request(config=config, prepared=prepare(config, compute, say), name=config.name)


def reports() -> bool:
    """Is there a secret with the Prefect that hosted runs report to?"""
    from compute.modal import known_secret
    from compute.reach import translated
    from modal_infra.names import PREFECT_SECRET

    with translated(f"secret {PREFECT_SECRET}"):
        return known_secret(PREFECT_SECRET) is not None


def night_of(config: RunConfig, say: Say) -> Request:
    """What every night of a profile runs.

    Raises:
        InputError, DatasetError: no night could work so.
    """
    return _request(config, compute_for(config), say)


def costs() -> str:
    """What the container that hosts a flow costs."""
    from modal_infra.names import HOST_CPU, HOST_MEMORY_MB, HOURLY, PRICED

    size = f"{HOST_CPU:g} core, {HOST_MEMORY_MB} MiB"
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


def deploy_night(say: Say, night: Request | None, cron: str, timezone: str) -> None:
    """Deploy what hosts flows, with the nights of a profile or without.

    Args:
        night: what every night runs, ``cron`` in ``timezone``; None: no nights, only ``sft run --hosted``.
    Raises:
        ComputeError: no token, or the image could not be built.
    """
    import modal

    from cli.deploying import any_config, deploy_app
    from modal_infra.names import PREFECT_SECRET
    from modal_infra.night import night_app

    compute = compute_for(any_config("erniekit") if night is None else night.config)
    secrets = [modal.Secret.from_name(PREFECT_SECRET)] if reports() else []
    request = night.model_dump(mode="json") if night is not None else None
    deploy_app(night_app(secrets, request, cron, timezone), say)
    profile = "" if night is None else night.config.profile
    nights.keep(compute, reports=bool(secrets), profile=profile, cron=cron, timezone=timezone)
    if secrets:
        say(f"its runs report to the Prefect of the secret {PREFECT_SECRET}")
    else:
        say(f"no secret {PREFECT_SECRET}: each run has a Prefect of its own, its database on the outputs volume")
    if night is None:
        say("no nights: sft run PROFILE --hosted starts a run; a profile has nights with sft deploy PROFILE --night")
    else:
        config = night.config
        say(f"nights of {config.profile}: {cron} {timezone}, on {config.dataset.volume}; after a change, deploy again")
    say(costs())


def hosted_now(compute: Compute) -> str:
    """The hosted runs that work now, in a line; empty where none does, or where none can."""
    if compute.name == "local":
        return ""
    found = hosted_calls(compute)
    return "hosted at Modal now: " + ", ".join(f"{key} (call {call})" for key, call in found.items()) if found else ""

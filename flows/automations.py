"""Automations as code: a build step of prefect.yaml, so that ``prefect deploy`` brings them (docs/prefect.md).

They act in the server itself, which sends to the profile's notification blocks: a night without a run is told although
no worker works. What runs a deployment stands in prefect.yaml instead, as that deployment's ``triggers``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.events.actions import ActionTypes, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.deployments import FLOWS
from sft.config import load
from sft.config.sections import MAIL
from sft.errors import InputError, SftError

DAY = timedelta(days=1)
BEGUN = ("Pending", "Running", "Cancelled", "Crashed", "Failed")  # what becomes of a run that somebody looks after


def automations(name: str, late: float = 4) -> dict[str, str]:
    """A build step: make the automations of a profile's deployment anew; what is wrong ends the command.

    Args:
        name: of the profile, or its file; its deployment is called so, too. Its notify.blocks are told.
        late: how long after its time a scheduled run may begin (hours).
    Returns: ``told``: through which blocks.
    """
    try:
        told = deploy(name, timedelta(hours=late))
    except SftError as error:  # Prefect would show two tracebacks
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    return {"told": ", ".join(told) or "nobody: notify.blocks of the profile is empty"}


def deploy(name: str, late: timedelta) -> list[str]:
    """Make the automations of a profile anew on Prefect's server; the blocks through which people are told.

    Raises:
        InputError: a block is not there.
    """
    blocks = [block for block in load(name).config.notify.blocks if not block.startswith(f"{MAIL}/")]
    called = Path(name).stem
    owner, actions = f"sft.profile.{called}", []
    with get_client(sync_client=True) as client:
        for block in blocks:
            kind, _, of_kind = block.partition("/")
            try:
                actions.append(client.read_block_document_by_name(of_kind, kind).id)
            except ObjectNotFound:
                remedy = "make it in the UI (Blocks), or take it out; prefect block ls lists those that there are"
                said = "Prefect's server has no such notification block"
                raise InputError(said, where=f"{name}: notify.blocks", value=block, remedy=remedy) from None
        client.delete_resource_owned_automations(owner)
    for title, description, trigger, body in wanted(called, late):
        told: list[ActionTypes] = [SendNotification(block_document_id=one, subject=title, body=body) for one in actions]
        core = AutomationCore(
            name=f"sft/{called}: {title}",
            description=description,
            trigger=trigger,
            actions=told or [DoNothing()],
            owner_resource=owner,
        )
        _create(core)
    return blocks


def _create(core: AutomationCore) -> None:
    with get_client(sync_client=True) as client:
        client.create_automation(core)


def wanted(name: str, late: timedelta) -> Iterator[tuple[str, str, EventTrigger, str]]:
    """(title, description, trigger, text that is sent) of each, for the deployment ``name``."""
    flows = {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
    mine = {"prefect.resource.role": "deployment", "prefect.resource.name": name}
    run = {"prefect.resource.id": "prefect.flow-run.*"}
    each = {"prefect.resource.id"}
    yield (
        "a run crashed",
        "A run's process was killed, or its machine is gone: the next run attaches or resumes",
        EventTrigger(expect={"prefect.flow-run.Crashed"}, match=run, match_related=flows, for_each=each),
        "{{ flow.name }} {{ flow_run.name }} crashed: {{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
    )
    yield (
        "no run at its time",
        f"A scheduled run of {name} has not begun {late} after its time: no worker works, or it is stuck",
        EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.Late"},
            expect={f"prefect.flow-run.{state}" for state in BEGUN},
            within=late,
            match=run,
            match_related=mine,
            for_each=each,
        ),
        f"the run of {name} has not begun {late} after its time: does prefect worker start --pool sft run?\n"
        "{{ flow_run|ui_url }}",
    )
    yield (
        "the month nears its bound",
        "A training was under way when the month came to 80 % of budget.max_cost_per_month; once a day",
        EventTrigger(expect={"sft.budget"}, within=DAY, threshold=1),
        "{{ event.payload.spent }} of {{ event.payload.bound }} {{ event.payload.currency }} this month",
    )

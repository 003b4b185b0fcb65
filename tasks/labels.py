"""What a flow run is called in the UI, and by which tags it is found."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from sft.config import RunConfig


def title(config: RunConfig, identity: str = "") -> str:
    """Profile, name where it is another, and the training: ``full receipts 0123456789abcdef``."""
    return " ".join(dict.fromkeys(filter(None, (config.profile, config.name, identity[:16]))))


def label(config: RunConfig, identity: str) -> None:
    """Give the flow run its name and its tags, now that its training is known: profile, name and identity."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(str(context.flow_run.id)))
        tags = {*run.tags, *filter(None, (config.profile, config.name, identity[:16]))}
        name = title(config, identity) if context.flow is not None and context.flow.name == "sft" else run.name
        client.update_flow_run(run.id, name=name, tags=sorted(tags))

"""What the pipeline tells Prefect's event feed, so that automations can act on it (docs/prefect.md lists the events).

The resource is the training, by its identity; Prefect adds the flow run, its flow, deployment and tags as related ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from prefect.events import emit_event

from runs.ledger import Entry
from sft.errors import without_secrets

Name = Literal["sft.trained", "sft.asked", "sft.promoted", "sft.refused", "sft.crashed", "sft.budget", "sft.data.new"]
LONGEST = 2000  # characters of a text


def emit(
    event: Name,
    kind: str,
    identity: str,
    *,
    name: str,
    profile: str = "",
    run: str = "",
    facts: Mapping[str, object] | None = None,
) -> None:
    """Tell that something happened. Who cannot be told fails no run.

    Args:
        kind, identity: of the resource: sft.KIND.IDENTITY.
        name: of the line of runs; ``profile``: where its values come from.
        run: the flow run that it is about, where it is not the one that tells it.
        facts: the payload: numbers as they are, everything else as text, without secrets.
    """
    resource = {"prefect.resource.id": f"sft.{kind}.{identity}", "prefect.resource.name": f"{name} {identity[:16]}"}
    resource |= {"sft.name": name, "sft.profile": profile}
    related = {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}
    payload = {key: value if isinstance(value, (int, float)) else _plain(value) for key, value in (facts or {}).items()}
    emit_event(
        event, resource, related=[related] if run else None, payload={"name": name, "profile": profile, **payload}
    )


def crashed(entry: Entry) -> None:
    """Tell of a run of which only now is known that its process was killed."""
    kind, identity = ("training", entry.identity) if entry.identity else ("run", entry.id)
    facts = {"error": entry.error, "started": entry.started}
    emit("sft.crashed", kind, identity, name=entry.name, profile=entry.profile, run=entry.prefect_run, facts=facts)


def _plain(value: object) -> str:
    return without_secrets(str(value))[:LONGEST]

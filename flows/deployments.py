"""Deployments of the flow: each carries the values of its profile, so that Prefect's form shows what will run.

Prefect's form sends what its fields hold. A field that neither the deployment nor a person fills must stay empty, so
the form's schema has no defaults: those of the model would be sent as if somebody had asked for them.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from pydantic import GetJsonSchemaHandler, PlainValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sft.config import Resolved, RunConfig, load, load_parameter
from sft.config.model import is_whole
from sft.errors import ComputeError, ConfigError, SftError
from sft.store.records import fingerprint
from tasks.telling import tell

REMEDY = "prefect deploy --all"
FLOWS = ("sft", "evaluate", "sweep", "curve", "read", "cleanup", "doctor")


class _Form:
    """In an annotation: the JSON schema as Prefect's form needs it: no defaults, and a title on every field."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        self._prepare(schema, handler)
        return schema

    def _prepare(self, schema: Any, handler: GetJsonSchemaHandler) -> None:
        if isinstance(schema, dict):
            if "$ref" in schema:
                self._prepare(handler.resolve_ref_schema({"$ref": schema["$ref"]}), handler)
            for name, field in schema.get("properties", {}).items():
                field.pop("default", None)
                field.setdefault("title", name.replace("_", " ").title())
                if field.get("type") == "boolean":  # a switch is on or off and would be sent untouched
                    del field["type"]
                    field["enum"] = [True, False]
        for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
            self._prepare(part, handler)


def _taken(given: Any) -> RunConfig | dict[str, Any]:
    if not isinstance(given, (RunConfig, dict)):
        raise ValueError('config is a mapping, such as {"train": {"epochs": 3}}')
    return given


# What Prefect passes on: a configuration, every value of one, or what differs from the profile.
Given = Annotated[
    RunConfig | dict[str, Any],
    PlainValidator(_taken, json_schema_input_type=Annotated[RunConfig, _Form()]),
]

NOTHING: dict[str, Any] = {}  # the parameter's default: all is the profile's, and Prefect's quick run asks for nothing


def profile(name: str) -> dict[str, Any]:
    """A build step of prefect.yaml: what :func:`carried` says; a profile that cannot be used ends the command."""
    try:
        return carried(name)
    except SftError as error:  # Prefect would show two tracebacks
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def carried(name: str) -> dict[str, Any]:
    """What a deployment of the profile ``name`` carries.

    Returns: ``config``, every value of the profile; ``version``, the profile's name and the fingerprint of the values.
    Raises:
        ConfigError: the profile is not there, or wrong.
    """
    config = load(name).config.model_dump(mode="json")
    return {"config": config, "version": f"{name} {fingerprint(config)[:8]}"}


def _profile_of(version: str | None) -> str:
    return (version or "").rpartition(" ")[0]


def stale(version: str | None) -> str:
    """Why no run of a deployment of this version may start; empty where it carries what its profile says now."""
    name = _profile_of(version)
    if not name:
        return "the deployment does not say which profile's values it carries"
    if version != carried(name)["version"]:
        return f"the profile {name} has changed since it was deployed: Prefect's form shows its old values"
    return ""


def resolve(given: dict[str, Any], version: str | None) -> tuple[Resolved, ConfigError | None]:
    """The configuration of a deployment's run, and why it is refused.

    Args:
        given: the run's parameter ``config``.
        version: the deployment's, as :func:`carried` made it.
    Returns: the run's configuration; where it is refused, that of the profile alone, which says who is told.
    Raises:
        ConfigError: what is given cannot be run.
    """
    name = _profile_of(version)
    named = str(given.get("profile") or name)
    refused = None
    if reason := stale(version):
        refused = ConfigError(reason, value=version or "", remedy=REMEDY)
    elif named != name and is_whole(given):
        reason = f"the values in the form are those of the profile {name}"
        refused = ConfigError(reason, value=f"profile {named}", remedy=f"run the deployment of {named}")
    if refused and not (name or named):
        raise refused
    return (load(name or named), refused) if refused else (load_parameter(given, name), None)


def configuration(given: RunConfig | dict[str, Any]) -> tuple[RunConfig, ConfigError | None]:
    """The configuration of the flow run that this is called in, told with the source of each value; why it is refused.

    Raises:
        ConfigError: what is given cannot be run.
    """
    if isinstance(given, RunConfig):
        return given, None
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None:
        resolved, refused = load_parameter(given), None
    else:
        resolved, refused = resolve(given, run.deployment_version)
    if refused is None:
        tell("\n".join(f"{key} = {value}  ({source})" for key, value, source in resolved.lines()))
    return resolved.config, refused


def deployed(name: str) -> list[tuple[str, str]]:
    """The server's deployments of a profile: (name, why it must not run, or empty).

    Raises:
        ComputeError: Prefect's API does not answer.
    """
    with get_client(sync_client=True) as client:
        try:
            found = {flow: client.read_deployments(flow_filter=_named(flow)) for flow in FLOWS}
        except (httpx.HTTPError, PrefectException, RuntimeError) as error:
            remedy = "prefect server start, or prefect config unset PREFECT_API_URL to run without a server"
            raise ComputeError("Prefect's API does not answer", value=str(error), remedy=remedy) from None
    every = [(flow, deployment) for flow, deployments in found.items() for deployment in deployments]
    mine = [(flow, d) for flow, d in every if (_profile_of(d.version) or _given_profile(d.parameters)) == name]
    return [(f"{flow}/{d.name}", stale(d.version)) for flow, d in mine]


def _named(flow: str) -> FlowFilter:
    return FlowFilter(name=FlowFilterName(any_=[flow]))


def _given_profile(parameters: dict[str, Any]) -> str:
    config = parameters.get("config")
    return str(config.get("profile") or "") if isinstance(config, dict) else ""

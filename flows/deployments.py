"""Deployments of the flow: each carries the values of its profile, so that Prefect's form shows what will run.

Prefect's form sends what its fields hold. A field that neither the deployment nor a person fills must stay empty, so the
form's schema has no defaults: those of the model would be sent as if somebody had asked for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from prefect.context import FlowRunContext
from pydantic import GetJsonSchemaHandler, PlainValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sft.config import Resolved, RunConfig, load, load_parameter
from sft.config.model import is_whole
from sft.errors import ConfigError
from sft.records import fingerprint
from tasks.telling import tell

REMEDY = "prefect deploy --all"


class _NoDefaults:
    """In an annotation: the JSON schema without defaults."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        self._strip(schema, handler)
        return schema

    def _strip(self, schema: Any, handler: GetJsonSchemaHandler) -> None:
        if isinstance(schema, dict):
            if "$ref" in schema:
                self._strip(handler.resolve_ref_schema({"$ref": schema["$ref"]}), handler)
            for field in schema.get("properties", {}).values():
                field.pop("default", None)
                if field.get("type") == "boolean":
                    del field["type"]
                    field["enum"] = [True, False]
        for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
            self._strip(part, handler)


def _taken(given: Any) -> RunConfig | dict[str, Any]:
    if not isinstance(given, (RunConfig, dict)):
        raise ValueError('config is a mapping, such as {"train": {"epochs": 3}}')
    return given


# What Prefect passes on: a configuration, every value of one, or what differs from the profile.
Given = Annotated[
    RunConfig | dict[str, Any],
    PlainValidator(_taken, json_schema_input_type=Annotated[RunConfig, _NoDefaults()]),
]


def profile(name: str) -> dict[str, Any]:
    """A build step of prefect.yaml: what a deployment of the profile ``name`` carries.

    Returns: ``config``, every value of the profile; ``version``, the profile's name and the fingerprint of the values.
    """
    config = load(name).config.model_dump(mode="json")
    return {"config": config, "version": f"{name} {fingerprint(config)[:8]}"}


def stale(version: str | None) -> str:
    """Why no run of a deployment of this version may start; empty where it carries what its profile says now."""
    name, _, _ = (version or "").rpartition(" ")
    if not name:
        return "the deployment does not say which profile's values it carries"
    if version != profile(name)["version"]:
        return f"the profile {name} has changed since it was deployed: Prefect's form shows its old values"
    return ""


def resolve(given: Mapping[str, Any], version: str | None) -> tuple[Resolved, ConfigError | None]:
    """The configuration of a deployment's run, and why it is refused.

    Args:
        given: the run's parameter ``config``.
        version: the deployment's, as :func:`profile` made it.
    Returns: the run's configuration; where it is refused, that of the profile alone, which says who is told.
    Raises:
        ConfigError: what is given cannot be run.
    """
    name, _, _ = (version or "").rpartition(" ")
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


def configuration(given: RunConfig | Mapping[str, Any]) -> tuple[RunConfig, ConfigError | None]:
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

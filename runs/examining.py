"""Is all there that a run needs? The checks on this side, then those inside the environment that would train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from compute.base import Compute
from compute.select import compute_for
from runs import nights
from runs.waiting import follow
from sft.config import RunConfig
from sft.errors import JobDied, JobError, SftError, TransientError
from sft.jobs.inspect_environment import InspectArgs, check_names, fitting
from sft.store.code import code_hash

PATIENCE = 20 * 60  # seconds: a first container may have to load its image
Finding = dict[str, Any]
BASE, UP_TO_DATE, NIGHT = "base model", "up to date", nights.CHECK
CLIENT = ("token", "set-up app", "GPU app", "volumes", "secret")
OPTIONAL = (
    "none, and none is needed for a public base model; for a gated or private one: "
    "modal secret create huggingface HF_TOKEN=hf_xxx"
)


def examine(
    config: RunConfig,
    names: Sequence[str] = (),
    *,
    quick: bool = False,
    deployed: Callable[[RunConfig], list[Finding]] = lambda config: [],
) -> list[Finding]:
    """All findings in order. Where the deployment cannot be reached, the checks inside are left out.

    Args:
        deployed: looks at Prefect's deployments.
        names: only these checks, and those that fail on the way to them; empty for all that fit.
        quick: only the first few of those inside.
    Raises:
        InputError: a named check does not exist, or does not fit the profile.
    """
    device, modal = "cpu" if config.on_cpu else "gpu", config.compute == "modal"
    check_names(config.engine, device, names, (BASE, *((*CLIENT, UP_TO_DATE, NIGHT) if modal else ())))
    inside = [check.name for check in fitting(config.engine, device, quick=quick and not names)]
    chosen = tuple(name for name in inside if not names or name in names)
    client = _client_side(config) if modal else []
    findings = [_base(config), *([] if names else deployed(config)), *client]
    if all(finding["ok"] for finding in client):
        # Only a container knows which code it has; python is the check that takes no time.
        asked = chosen or (("python",) if UP_TO_DATE in names else ())
        args = InspectArgs(engine=config.engine, device=device, checks=asked, gpus=config.gpus)
        findings += _beyond(config, args, night=modal and (not names or NIGHT in names))
    return [finding for finding in findings if not names or finding["name"] in names or not finding["ok"]]


def _beyond(config: RunConfig, args: InspectArgs, *, night: bool) -> list[Finding]:
    """What a container says, and whether nights are hosted as they should be; no container without a check for it."""
    findings, inside = [], []
    try:
        compute = compute_for(config)
        if args.checks:
            result = _inside(compute, args)
            inside = list(result["findings"])
            same = result["code"] == code_hash()
            found = "the code that is deployed is the code that lies here" if same else "other code is deployed"
            outdated = {"name": UP_TO_DATE, "ok": same, "found": found, "remedy": "" if same else "sft deploy"}
            findings += [outdated] if config.compute == "modal" else []
        findings += [nights.finding(compute)] if night else []
    except (JobError, TransientError) as error:
        found = error.message.splitlines()[0]
        return [{"name": "container", "ok": False, "found": found, "remedy": error.remedy}]
    return findings + inside


def _base(config: RunConfig) -> Finding:
    repo = config.base_model.repo if config.base_model.source == "hub" else "the tiny model"
    return {"name": BASE, "ok": True, "found": f"{repo} is PaddleOCR-VL-{config.family.name}", "remedy": ""}


def _inside(compute: Compute, args: InspectArgs) -> dict[str, Any]:
    call_id = compute.start("inspect_environment", args.model_dump(mode="json"))

    def look(worked: float) -> None:
        if worked > PATIENCE:
            compute.cancel(call_id)
            raise JobDied("the checks did not end", where=call_id, value=f"{PATIENCE} s", remedy="look at its log")

    return follow(compute, call_id, lambda line: None, look)


def _client_side(config: RunConfig) -> list[Finding]:
    """Token, deployments, volumes, secret: what can be asked without a container."""
    import modal

    from compute.modal import secrets_of
    from compute.reach import ready, translated
    from modal_infra.names import APP, SETUP, function_name
    from modal_infra.volumes import PREFIX
    from sft.store.volumes import NAMES

    def token() -> None:
        ready()
        modal.Client.from_env().hello()

    train = function_name("train", config.engine)
    questions: tuple[Callable[[], object], ...] = (
        token,
        lambda: modal.Function.from_name(SETUP, "download_model").hydrate(),
        lambda: modal.Function.from_name(APP, train).hydrate(),
        lambda: [modal.Volume.from_name(PREFIX + name).hydrate() for name in NAMES],
        lambda: "there" if secrets_of("download_model") else OPTIONAL,
    )
    findings: list[Finding] = []
    for name, ask in zip(CLIENT, questions, strict=True):
        try:
            with translated(name):
                answer = ask()
        except SftError as error:
            place = f"{error.where}: " if error.where not in ("", name) else ""
            findings.append({"name": name, "ok": False, "found": place + error.message, "remedy": error.remedy})
            if name == "token":
                return findings
        else:
            found = answer if isinstance(answer, str) else "there"
            findings.append({"name": name, "ok": True, "found": found, "remedy": ""})
    return findings

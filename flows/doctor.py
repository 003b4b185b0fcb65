"""The flow ``doctor``: is all there that a run of a profile needs, where it would run?"""

from __future__ import annotations

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact

from flows.choosing import ended
from flows.deployments import NOTHING, REMEDY, Given, deployed
from runs.examining import Finding, examine
from sft.config import RunConfig
from sft.errors import ComputeError, SftError
from tasks.step import step
from tasks.telling import tell


def findings_of_deployments(config: RunConfig) -> list[Finding]:
    """Do Prefect's deployments of the profile carry what it says now?"""
    try:
        found = deployed(config.profile)
    except ComputeError as error:
        return [{"name": "prefect", "ok": False, "found": f"{error.message}: {error.value}", "remedy": error.remedy}]
    return [
        {"name": name, "ok": not reason, "found": reason or "carries the profile as it is", "remedy": REMEDY}
        for name, reason in found
    ]


@flow(name="doctor", description="Check that everything is there that a run of the profile needs, where it would run")
def doctor(config: Given = NOTHING, checks: list[str] | None = None, quick: bool = True) -> State[int] | int:
    """Look at token, deployments, volumes, and inside the environment that would train.

    Args:
        config: The run's values. A deployment fills in those of its profile; what is left out is the profile's.
        checks: Only the checks of these names.
        quick: Only the first few of the checks inside.

    Raises:
        SftError: a check failed; the artifact says which, and what to do.
    """
    return ended(config, lambda settings: steps(settings, checks or [], quick), lambda count: f"{count} checks passed")


def steps(config: RunConfig, checks: list[str], quick: bool) -> int:
    """How many checks passed."""
    findings = examined(config, checks, quick)
    failed = [finding["name"] for finding in findings if not finding["ok"]]
    if failed:
        remedy = "the artifact doctor says what to do"
        raise SftError(f"{len(failed)} of {len(findings)} checks failed", value=", ".join(failed), remedy=remedy)
    return len(findings)


@step("examine", "Token, deployments, volumes, and the environment that would train")
def examined(config: RunConfig, checks: list[str], quick: bool) -> list[Finding]:
    """The findings, shown as a table."""
    findings = examine(config, checks, quick=quick, deployed=findings_of_deployments)
    lines = ["| | check | found | next |", "|---|---|---|---|"]
    for finding in findings:
        cells = ["✓" if finding["ok"] else "✗", finding["name"], finding["found"], finding["remedy"]]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        tell(f"{'ok' if finding['ok'] else 'FAILED'}  {finding['name']}: {finding['found']}")
    create_markdown_artifact("\n".join(lines), key="doctor", description=f"What the profile {config.profile} needs")
    return findings

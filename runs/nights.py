"""What is deployed to host flows: written down when it is deployed, and looked at by ``sft doctor``. Needs no Prefect.

Modal's client tells whether a function is there, and neither its schedule nor which code it was deployed from.
"""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, ValidationError

from compute.base import Compute
from compute.records import put_json, read_json
from modal_infra.names import HOST, NIGHT, PREFECT_SECRET
from sft.errors import SftError
from sft.store.code import code_hash

FILE = "hosted/deployed.json"  # on the outputs volume
CHECK = "night"  # among the doctor's checks
DEPLOY = "sft deploy --night"
ABSENT = f"not deployed, and not needed: {DEPLOY} for runs that no machine of yours has to wait for"


class Deployed(BaseModel):
    """The newest deployment.

    Attributes:
        code: see :func:`code`.
        reports: its runs report to the Prefect of a secret.
        profile: whose nights there are; empty: there are none. ``cron`` in ``timezone`` says when.
        at: Unix time in seconds.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    code: str
    reports: bool
    profile: str = ""
    cron: str = ""
    timezone: str = "UTC"
    at: float = 0.0

    @property
    def command(self) -> str:
        """What deploys the same again."""
        return f"sft deploy {self.profile} --night" if self.profile else DEPLOY

    def next_night(self, now: float) -> str:
        """When the schedule comes round next, in words."""
        if not self.profile:
            return "no nights"
        from cronsim import CronSim

        following = next(CronSim(self.cron, datetime.fromtimestamp(now, ZoneInfo(self.timezone))))
        return f"nights of {self.profile}, the next one {following:%Y-%m-%d %H:%M} {self.timezone}"


def code() -> str:
    """sha256 (hex) over all that the image carries: the rooms' code, and the environment's lock file."""
    from modal_infra.image import ROOMS

    return code_hash(ROOMS)


def keep(compute: Compute, *, reports: bool, profile: str = "", cron: str = "", timezone: str = "UTC") -> None:
    """Write down what has been deployed now."""
    times = {"cron": cron, "timezone": timezone} if profile else {}
    now = Deployed(code=code(), reports=reports, profile=profile, at=time.time(), **times)
    put_json(compute, "outputs", FILE, now.model_dump())


def look(compute: Compute) -> tuple[bool, str, str]:
    """(is all well?, what was found, what to do next) of the app that hosts flows; nobody needs to have it.

    Raises:
        SftError: Modal does not answer.
    """
    import modal
    from modal.exception import NotFoundError

    from compute.modal import known_secret
    from compute.reach import translated

    with translated(f"function {HOST}", DEPLOY):
        try:
            modal.Function.from_name(NIGHT, HOST).hydrate()
        except NotFoundError:
            return True, ABSENT, ""
    try:
        known = Deployed.model_validate(read_json(compute, "outputs", FILE) or {})
    except ValidationError:
        return False, "it is deployed, and not known from which code", DEPLOY
    with translated(f"secret {PREFECT_SECRET}"):
        secret = known_secret(PREFECT_SECRET) is not None
    if known.reports != secret:
        there = "there is one now" if secret else "it is gone"
        said = "with" if known.reports else "without"
        return False, f"it was deployed {said} the secret {PREFECT_SECRET}, and {there}", known.command
    if known.code != code():
        return False, "other code is deployed than lies here", known.command
    where = (
        f"its runs report to the Prefect of the secret {PREFECT_SECRET}"
        if secret
        else "its runs have a Prefect of their own"
    )
    return True, f"the code that lies here; {known.next_night(time.time())}; {where}", ""


def finding(compute: Compute) -> dict[str, object]:
    """The same, as the doctor's findings are."""
    try:
        ok, found, remedy = look(compute)
    except SftError as error:
        ok, found, remedy = False, error.message, error.remedy
    return {"name": CHECK, "ok": ok, "found": found, "remedy": remedy}

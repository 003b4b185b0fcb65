"""Step ensure-wheel: the paddlepaddle-gpu wheel on the models volume, downloaded once."""

from __future__ import annotations

from dataclasses import dataclass

from prefect import State
from prefect.states import Completed

from compute.base import Compute
from runs.fetched import known_wheel
from sft.config import RunConfig
from sft.plan import wheel_args
from sft.training.wheels import WHEELS
from tasks.following import run_job
from tasks.step import step
from tasks.telling import tell


@dataclass(frozen=True)
class Wheel:
    """``path`` on the models volume, or the reason why none is needed."""

    path: str
    skipped: str = ""


@step("ensure-wheel", "Keep the GPU wheel on the models volume, so that no image build downloads it")
def ensure_wheel(config: RunConfig, compute: Compute) -> Wheel | State[Wheel]:
    """Fetch the wheel unless it is there. Skipped where the training runs on a CPU, or needs none.

    Raises:
        IntegrityError: the wheel is not the one that the configuration or its record names.
        InputError: its address does not exist.
    """
    if config.on_cpu:
        where = f"compute {compute.name}" if config.compute == "local" else "modal.gpu none"
        reason = f"{where} needs no GPU wheel: the training runs on a CPU"
        tell(f"skipped: {reason}")
        return Completed(name="Skipped", message=reason, data=Wheel("", reason))
    if config.engine not in WHEELS:
        reason = f"engine {config.engine} installs no wheel of its own; sft deploy has fetched those for the evaluation"
        tell(f"skipped: {reason}")
        return Completed(name="Skipped", message=reason, data=Wheel("", reason))
    args = wheel_args(config)
    if known_wheel(compute, args.path):
        tell(f"wheel {args.path} is on the volume already")
        return Wheel(args.path)
    record = run_job(compute, f"wheel-{args.path.rsplit('/', 1)[-1]}", "download_wheel", args.model_dump())
    tell(f"wheel {args.path}: {record['size'] / 1e9:.2f} GB, sha256 {record['sha256'][:16]}…")
    return Wheel(args.path)

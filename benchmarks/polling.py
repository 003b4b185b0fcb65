"""What does it cost to follow a training at Modal for an hour: requests and processor time?

A real training against the stand-in server of the tests, through ``sft run``; counted while its call runs and
scaled to an hour. The reference is Modal's client that only waits for a call's result.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.harness import Figure, smoke_run
from benchmarks.sizes import size
from benchmarks.stand_in import stand_in
from tests.support.modal_server import Call, ModalServer
from tests.support.mounting import CAN_MOUNT

STEPS = size(400, 100)
SETTINGS = ["compute=modal", "modal.gpu=none", "dataset.digits.train_rows=1000", "dataset.digits.held_out_rows=24"]
SETTINGS += [f"train.max_steps={STEPS}", f"train.save_steps={STEPS}"]
FIRST = size(65, 5)  # seconds: in its first minute a job is looked at more often
WAITED = 60.0  # seconds that the reference waits
DEPLOY = "from modal_infra.app import app, setup; setup.deploy(); app.deploy()"
BARE = """
import modal
from modal_infra.names import APP
modal.Function.from_name(APP, "predict").spawn({}).get()
"""


def figures() -> Iterator[Figure]:
    """Nothing where mount namespaces are not permitted."""
    if not CAN_MOUNT:
        return
    with stand_in() as (server, environment, folder):
        command, quiet = smoke_run(folder, SETTINGS)
        subprocess.run([sys.executable, "-c", DEPLOY], env=environment, check=True, capture_output=True)
        ours, share = _followed(server, command, {**quiet, **environment}, folder)
        server.simulated = lambda item: WAITED
        before = server.rpcs.total()
        subprocess.run([sys.executable, "-c", BARE], env=environment, check=True, cwd=os.getcwd())
        bare = (server.rpcs.total() - before) / WAITED * 3600
    yield Figure("requests an hour, container included", ours, bare, "requests (only waiting)", "none", True)
    yield Figure("processor time of following", 100 * share, 1.0, "% of a core (1 %)", "≤ 3", share <= 0.03)


def _followed(
    server: ModalServer, command: list[str], environment: dict[str, str], folder: Path
) -> tuple[float, float]:
    """(requests an hour, share of a core) while the training's call works."""
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL) as process:
        call = _training(server, process)
        time.sleep(FIRST)
        follower = psutil.Process(process.pid)
        started, rpcs, cpu = time.perf_counter(), server.rpcs.total(), sum(follower.cpu_times()[:2])
        while not call.ended:
            time.sleep(0.2)
        took = time.perf_counter() - started
        ours, share = (server.rpcs.total() - rpcs) / took * 3600, (sum(follower.cpu_times()[:2]) - cpu) / took
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return ours, share


def _training(server: ModalServer, process: subprocess.Popen[bytes]) -> Call:
    """The training's call, once it is there."""
    while process.poll() is None:
        for call in list(server.calls.values()):
            if "train" in call.function_id and call.taken:
                return call
        time.sleep(0.1)
    raise subprocess.CalledProcessError(process.returncode, "sft run")

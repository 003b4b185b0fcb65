"""What does Modal's port add: from a call's start to its job's first line, and the price of polling?

Against the stand-in server of the tests: what is measured is the client, the container entrypoint and our own code, not
Modal's network or its containers' start. The reference is a bare interpreter that imports the job.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.harness import Figure, seconds
from benchmarks.stand_in import stand_in
from tests.support.mounting import CAN_MOUNT

BODY = """
import json, time
from compute.modal import ModalCompute
from modal_infra.app import app, setup
from sft.config import load
setup.deploy(); app.deploy()
compute = ModalCompute(load("smoke", ["compute=modal", "modal.gpu=none"]).config)
args = {"engine": "paddleformers", "device": "cpu", "checks": ["python", "trainer", "paddle", "disk"]}
started = time.perf_counter()
call, lines = compute.start("inspect_environment", args), []
while not lines:
    lines, _ = compute.logs(call, "")
first = time.perf_counter() - started
wall, cpu = time.perf_counter(), time.process_time()
while not compute.poll(call).ended:
    compute.logs(call, "")
    time.sleep(0.5)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print("OUT", json.dumps([first, cpu / wall]))
"""


def figures() -> Iterator[Figure]:
    """Nothing where mount namespaces are not permitted."""
    if not CAN_MOUNT:
        return
    with stand_in() as (_, environment, _):
        told = subprocess.check_output([sys.executable, "-c", BODY], env=environment, text=True)
    first, share = json.loads(told.split("OUT", 1)[1])
    code = "import modal_infra.app, sft.jobs.inspect_environment"
    bare = seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True))
    yield Figure("call to the job's first line", first, bare, "s (import the job)", "≤ 5 s", first <= 5)
    yield Figure("polling, share of a core", 100 * share, 1.0, "% (1 %)", "≤ 1", share <= 0.01)

"""What does sharing an evaluation out over many containers cost, from the first start to the last answer?

A simulation: the flow's own code and the real Modal client start and follow the calls, and the stand-in server of the
tests answers each after the time that a container would take. So it shows what the pipeline adds, not Modal's speed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.harness import Figure
from benchmarks.sizes import size
from benchmarks.stand_in import stand_in

CONTAINERS = (1, 4, 16, 64)
ROWS = size(20_000, 2_000)
A_ROW = 0.01  # seconds: about what a batched A100 takes for a line of text
START = 3.0  # seconds until a container reads its first row

BODY = """
import json, sys, time
from cli.run import prefect_defaults
prefect_defaults()
from cli.temporary_server import prefect_api
wait = prefect_api()
from prefect import flow
from compute.modal import ModalCompute
from modal_infra.app import app, setup
from sft.config import load
from sft.jobs.placed import Named
from sft.jobs.placed_rows import RowsPlace
from sft.jobs.predict import PredictArgs
from tasks.following import run_side_by_side
setup.deploy(); app.deploy()
compute = ModalCompute(load("smoke", ["compute=modal", "modal.gpu=none"]).config)
rows = RowsPlace(root="data", file="held_out.jsonl", format="erniekit")
model = Named(label="tuned", place="outputs/runs/0123456789abcdef/model")
common = dict(model=model, rows=rows, device="gpu", batch_size=8, max_new_tokens=64, max_rows=10**6)
@flow
def shared(count):
    shares = {f"{i}of{count}": PredictArgs(**common, shard=i, shards=count).model_dump() for i in range(count)}
    started = time.perf_counter()
    run_side_by_side(compute, "predict", shares)
    return time.perf_counter() - started
wait()
print("OUT", json.dumps([shared(count) for count in map(int, sys.argv[1:])]))
"""


def figures() -> Iterator[Figure]:
    """Wall time for 1 to 64 containers, against the containers' own time."""
    from modal._serialization import deserialize_data_format

    def simulated(item: object) -> float:
        (args, _) = deserialize_data_format(item.args, item.data_format, None)  # type: ignore[attr-defined]
        return START + A_ROW * ROWS / int(args[0]["shards"])

    with stand_in() as (server, environment, _):
        server.simulated = simulated
        command = [sys.executable, "-c", BODY, *map(str, CONTAINERS)]
        told = subprocess.check_output(command, env=environment, text=True)
    for count, wall in zip(CONTAINERS, json.loads(told.split("OUT", 1)[1])):
        ideal = START + A_ROW * ROWS / count
        question = f"evaluation of {ROWS:,} rows over {count} containers (simulated)"
        yield Figure(question, wall, ideal, "s (the containers' own)", "none", True)

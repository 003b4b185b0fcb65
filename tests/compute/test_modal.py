"""The whole path through Modal's unmodified client and container entrypoint, against the stand-in server."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from grpclib import Status
from modal._serialization import deserialize_data_format
from PIL import Image
from prefect.settings import get_current_settings

import compute.modal
from modal_infra.names import VLLM
from modal_infra.recipes import INTERPRETER, RECIPES
from sft.engines import ENGINES
from sft.models.second_reader import VARIABLE
from sft.training.wheels import WHEELS
from tests.conftest import Dataset
from tests.support.living import processes
from tests.support.modal_runs import DEPLOY, SFT, environment, sft, write_wheels
from tests.support.modal_server import RPCS, ModalServer
from tests.support.mounting import CAN_MOUNT
from tests.support.web_server import serving

pytestmark = [
    pytest.mark.skipif(not CAN_MOUNT, reason="unshare --mount is not permitted here: volumes cannot be mounted"),
    pytest.mark.usefixtures("prefect_server"),
]
SETTINGS = [
    "compute=modal",
    "modal.gpu=none",
    "dataset.digits.train_rows=64",
    "train.batch_size=4",
    "dataset.digits.held_out_rows=8",
    "train.save_steps=5",
    "train.logging_steps=1",
    "train.restarts=0",
    "promote.mode=never",  # but for one test, whose run asks the gate
]


STEPS = 40  # of a training that is moved twice


class Orchestrator:
    """``sft run smoke`` with compute modal in a process of its own."""

    def __init__(self, server: ModalServer, home: Path, steps: int, *more: str) -> None:
        variables = {**environment(server, home), "PREFECT_API_URL": str(get_current_settings().api.url)}
        settings = [part for s in [*SETTINGS, f"train.max_steps={steps}", *more] for part in ("--set", s)]
        self.log = home / f"log-{time.monotonic_ns()}.txt"
        with self.log.open("w") as log:
            command = [SFT, "run", "smoke", *settings]
            self.process = subprocess.Popen(command, cwd=home, env=variables, stdout=log, stderr=log)

    def wait_for(self, text: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def end(self, seconds: float = 240) -> str:
        self.process.wait(seconds)
        return self.log.read_text()


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Orchestrator]]:
    started: list[Orchestrator] = []

    def begin(server: ModalServer, steps: int, *more: str) -> Orchestrator:
        started.append(Orchestrator(server, home, steps, *more))
        return started[-1]

    yield begin
    for orchestrator in started:
        orchestrator.process.kill()
        orchestrator.process.wait()


def trainings(server: ModalServer) -> list[str]:
    return [call.id for call in server.calls.values() if "train" in call.function_id]


def test_from_deploy_to_an_evaluated_model_and_again_for_nothing(
    server: ModalServer, home: Path, start: Callable[..., Orchestrator]
) -> None:
    for name in write_wheels(home):
        process = sft(server, home, "upload-wheel", name)
        assert process.returncode == 0, process.stderr
    process = sft(server, home, "deploy")
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count("on the models volume already") == 2, "an uploaded wheel is not downloaded"
    deployed = server
    gate = ("promote.mode=gate", "promote.check_rows=4", "dataset.dev_share=0.2")
    first = start(deployed, 10, *gate)
    text = first.end()
    assert first.process.returncode == 0, text
    assert "CER on 8 held-out rows" in text
    assert "export: loads in a new process, 4 of 4 answers reproduced" in text
    assert "is refused: rows: 8" in text, "too few rows to decide on"
    assert "checkpoint-5 is complete" in text, "events come through Modal's log stream"
    assert "checkpoint-10 is the model: error" in text or "checkpoint-5 is the model: error" in text
    (folder,) = (home / "models").iterdir()
    assert (folder / "model" / "model.safetensors").stat().st_size > 10_000_000
    assert (folder / "report.html").exists()
    options = list(deployed.options.values())
    assert {o.timeout_secs for o in options} == {0, 24 * 3600}, "a training's, and what the other functions have"
    assert {(o.resources.milli_cpu, o.resources.memory_mb) for o in options} == {(8000, 32768)}

    calls = len(deployed.calls)
    second = start(deployed, 10, *gate)
    text = second.end()
    assert second.process.returncode == 0, text
    assert len(deployed.calls) == calls, "a call was paid for although nothing changed"
    assert "nothing is trained" in text

    image = next((home / "state" / "datasets").glob("*/held_out/00000.png"))
    cpu = [part for setting in SETTINGS[:2] for part in ("--set", setting)]
    (run,) = (deployed.volumes_folder / "vo-paddleocr-vl-outputs" / "runs").iterdir()
    read = sft(deployed, home, "infer", str(image), "--model", run.name, *cpu)
    assert read.returncode == 0, read.stderr
    assert read.stdout.startswith("read/00000.md: ")
    evaluate_from_here(deployed, home, image.parents[1], run.name, folder / "model", cpu)


def evaluate_from_here(
    deployed: ModalServer, home: Path, rows: Path, identity: str, model: Path, cpu: Sequence[str]
) -> None:
    """Rows and a model of this machine are sent; what the training's evaluation has read is not read again."""
    volumes = deployed.volumes_folder
    kept = volumes / "vo-paddleocr-vl-outputs" / "predictions"
    before = {path: path.read_bytes() for path in kept.glob("*/*.jsonl")}
    file = rows / "held_out.jsonl"
    asked = ("evaluate", "base", identity, str(model), str(file), "--set", "evaluate.shards=2", *cpu)
    variables = {"PREFECT_API_URL": str(get_current_settings().api.url)}
    done = sft(deployed, home, *asked, more=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "predict: 6 calls work side by side" in done.stdout
    assert {path: path.read_bytes() for path in kept.glob("*/*.jsonl")} == before, "a row was read again"
    (sent,) = (volumes / "vo-paddleocr-vl-models").glob("local--model@*/model.safetensors")
    assert sent.read_bytes() == (model / "model.safetensors").read_bytes()
    pictures = list((volumes / "vo-paddleocr-vl-data" / "datasets").glob("*/held_out/*.png"))
    assert len(pictures) == 2 * 8, "those of the training's set, and the rows by themselves"
    calls = len(deployed.calls)
    again = sft(deployed, home, *asked, more=variables)
    assert "was done before" in again.stdout, again.stderr
    assert len(deployed.calls) == calls, "a call was paid for although nothing changed"


@pytest.mark.usefixtures("one_reader")
def test_a_killed_orchestrator_attaches_and_a_cancelled_one_ends_the_container(
    deployed: ModalServer, start: Callable[..., Orchestrator]
) -> None:
    first = start(deployed, 100_000, "train.batch_size=16")
    first.wait_for("checkpoint-5 is complete")
    first.process.kill()
    second = start(deployed, 100_000, "train.batch_size=16")
    second.wait_for("attached to call")
    assert len(trainings(deployed)) == 1
    second.wait_for("checkpoint-")
    cancelled = time.monotonic()
    second.process.send_signal(signal.SIGINT)
    while processes(str(deployed.state)):
        assert time.monotonic() - cancelled < 10, second.log.read_text()
        time.sleep(0.05)
    assert second.process.wait(20) == 130


@pytest.mark.usefixtures("one_reader")
def test_two_triggers_at_the_same_moment_train_once(
    deployed: ModalServer, home: Path, start: Callable[..., Orchestrator]
) -> None:
    both = [start(deployed, steps=12), start(deployed, steps=12)]
    results = [orchestrator.end().splitlines()[-1] for orchestrator in both]
    assert [o.process.returncode for o in both] == [0, 0], both[0].log.read_text() + both[1].log.read_text()
    assert results[0] == results[1]
    (run,) = (deployed.volumes_folder / "vo-paddleocr-vl-outputs" / "runs").iterdir()
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13)), "each step was trained once"
    (pointer,) = (run.parents[1] / "calls").glob("train-*.json")
    trained_by = json.loads((run / "record.json").read_text())["call_id"]
    assert json.loads(pointer.read_text())["call_id"] == trained_by, "sft cancel would not have found the training"
    share_out_by_map(deployed, home)
    train_twice_unseen(deployed, home)


@pytest.mark.usefixtures("one_reader")
def test_a_container_that_dies_is_an_error_and_the_next_run_resumes(
    deployed: ModalServer, start: Callable[..., Orchestrator]
) -> None:
    first = start(deployed, 1000)  # so that it works when its container is killed
    first.wait_for("checkpoint-10 is complete")
    (call,) = trainings(deployed)
    container = deployed.calls[call].container
    assert container is not None
    container.kill()
    text = first.end(60)
    assert first.process.returncode == 1, text
    assert "the container ended without a result" in text
    second = start(deployed, 1000)
    second.wait_for("resuming from checkpoint-")


@pytest.mark.usefixtures("one_reader")
def test_a_container_that_is_taken_away_commits_its_checkpoints_and_the_next_one_resumes(
    deployed: ModalServer, start: Callable[..., Orchestrator]
) -> None:
    """Modal takes a machine away (SIGINT) or ends a container (SIGTERM), and starts the same input on another one."""
    orchestrator = start(deployed, STEPS, "train.batch_size=16")  # it works when its container is taken
    for number, checkpoint in ((signal.SIGINT, "checkpoint-5"), (signal.SIGTERM, "checkpoint-15")):
        orchestrator.wait_for(f"{checkpoint} is complete")
        (call_id,) = trainings(deployed)
        container, before = deployed.calls[call_id].container, time.monotonic()
        assert container is not None
        resumed = orchestrator.log.read_text().count("resuming from checkpoint-")
        container.preempt(number)
        end = time.monotonic() + 120
        while orchestrator.log.read_text().count("resuming from checkpoint-") == resumed:
            assert time.monotonic() < end, orchestrator.log.read_text()
            time.sleep(0.05)
        committed = [files for when, files in deployed.commits if when > before]
        left = [files for files in committed if not any(name.endswith("/lease.json") for name in files)]
        assert left, "the lease was not given back"
        assert any(name.endswith(f"{checkpoint}/checkpoint_manifest.json") for name in left[0])
    orchestrator.wait_for(f"trained {STEPS} steps")
    assert trainings(deployed) == [call_id]
    (run,) = (deployed.volumes_folder / "vo-paddleocr-vl-outputs" / "runs").iterdir()
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))


@pytest.mark.usefixtures("one_reader")
def test_passing_faults_of_every_request_change_nothing(
    deployed: ModalServer, start: Callable[..., Orchestrator]
) -> None:
    """Each RPC of the protocol answers UNAVAILABLE the first two times that it is asked."""
    deployed.rpcs.clear()
    deployed.faults.update(dict.fromkeys(RPCS, 2))
    orchestrator = start(deployed, steps=6)
    text = orchestrator.end()
    assert orchestrator.process.returncode == 0, text
    met = {name for name in RPCS if deployed.faults[name] < 2}
    assert {name for name in deployed.rpcs if deployed.rpcs[name] > 2} <= met
    assert {"FunctionMap", "FunctionGetOutputs", "FunctionPutOutputs", "VolumeCommit", "VolumeReload"} <= met
    assert len(trainings(deployed)) == 1
    (run,) = (deployed.volumes_folder / "vo-paddleocr-vl-outputs" / "runs").iterdir()
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 7))


MAP = """
import json, sys
import modal
from modal_infra.names import APP
shares = json.loads(sys.argv[1])
print(json.dumps(list(modal.Function.from_name(APP, "predict").map(shares))))
"""


def share_out_by_map(deployed: ModalServer, home: Path) -> None:
    """The held-out rows of a finished training, shared out to containers through the real client's ``.map``."""
    # Both triggers may have started a call: one held the lease and trained, the other yielded.
    item = deployed.calls[trainings(deployed)[0]].input
    training = deserialize_data_format(item.args, item.data_format, None)[0][0]
    dataset = training["dataset"]
    rows = {"root": dataset["root"], "file": dataset["held_out"], "format": dataset["held_out_format"]}
    base = {"label": "base", "place": f"models/{training['base_model']}"}
    # Other decoding settings than the run's: what has been read already would not be read again.
    common = {"device": "cpu", "batch_size": 2, "max_new_tokens": 5, "max_rows": 7, "rows": rows, "model": base}
    shares = [{**common, "shard": i, "shards": 3} for i in range(3)]
    command = [sys.executable, "-c", MAP, json.dumps(shares)]
    mapped = subprocess.run(command, cwd=home, env=environment(deployed, home), capture_output=True, text=True)
    assert mapped.returncode == 0, mapped.stderr
    values = [outcome["value"] for outcome in json.loads(mapped.stdout)]
    assert values == [{"rows": 3, "done": 3}, {"rows": 2, "done": 2}, {"rows": 2, "done": 2}]
    (mapping,) = deployed.mappings
    outputs = deployed.volumes_folder / "vo-paddleocr-vl-outputs"
    parts = list((outputs / "predictions").glob(f"*/{mapping}-*.jsonl"))
    assert sorted(part.read_text().count('"row"') for part in parts) == [2, 2, 3], "one file for each container"
    assert len(list((outputs / "usage").glob(f"*/*-{mapping}-*.json"))) == 3, "each is billed"


TWICE = """
import json, sys
import modal
from modal_infra.names import APP
train = modal.Function.from_name(APP, "train_paddleformers")
calls = [train.spawn(json.loads(sys.argv[1])) for _ in range(2)]
print(json.dumps({call.object_id: call.get() for call in calls}))
"""


def train_twice_unseen(deployed: ModalServer, home: Path) -> None:
    """Two starts of one training whose containers see nothing of each other for longer than either begins."""
    item = deployed.calls[trainings(deployed)[0]].input
    training = deserialize_data_format(item.args, item.data_format, None)[0][0]
    deployed.rules.commit_seconds = 4.0
    command = [sys.executable, "-c", TWICE, json.dumps({**training, "identity": "e" * 64})]
    process = subprocess.run(command, cwd=home, env=environment(deployed, home), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    (winner,) = [call for call, outcome in told.items() if outcome["ok"]]
    (loser,) = [outcome["error"] for outcome in told.values() if not outcome["ok"]]
    assert (loser["type"], loser["value"]) == ("LeaseHeld", winner)
    assert told[winner]["value"]["steps"] == 12
    assert told[winner]["value"]["fence"] > 0


def test_nothing_deployed_says_what_to_run(server: ModalServer, home: Path, start: Callable[..., Orchestrator]) -> None:
    orchestrator = start(server, steps=3)
    text = orchestrator.end()
    assert orchestrator.process.returncode == 1
    assert "not deployed" in text
    assert "Next: sft deploy" in text


@pytest.mark.parametrize(
    ("rpc", "status", "said"),
    [
        ("FunctionMap", Status.RESOURCE_EXHAUSTED, "raise the workspace's limit"),
        ("FunctionMap", Status.FAILED_PRECONDITION, "Modal refuses the request"),
        ("FunctionGet", Status.PERMISSION_DENIED, "modal token new"),
        ("VolumeReload", Status.FAILED_PRECONDITION, "a new container has no file open"),  # one is open
    ],
)
def test_a_call_that_modal_refuses_says_why(
    deployed: ModalServer, home: Path, rpc: str, status: Status, said: str
) -> None:
    deployed.refused[rpc] = status
    cpu = [part for setting in SETTINGS[:2] for part in ("--set", setting)]
    process = sft(deployed, home, "sample", "smoke", *cpu)
    assert process.returncode == 1, process.stdout
    assert said in process.stderr
    assert "Traceback" not in process.stdout + process.stderr


def test_an_image_that_cannot_be_built_says_where_to_look(server: ModalServer, home: Path) -> None:
    server.broken_image = "msgspec"
    process = sft(server, home, "deploy")
    assert process.returncode == 1
    assert "an image could not be built" in process.stderr
    assert "Modal's dashboard" in process.stderr


def test_a_wheel_that_is_not_at_its_address_says_how_to_name_another(server: ModalServer, home: Path) -> None:
    """That the address of a cp312 wheel exists has not been seen."""
    with serving() as site:
        url = f"{site.url}/w.whl"
        process = sft(server, home, "deploy", "full", "--set", f"wheel.url={url}")
    assert process.returncode == 2, process.stderr
    assert site.requests["/w.whl"] == 1
    assert url in process.stderr
    name = "paddlepaddle_gpu-3.2.1-cp312-cp312-linux_x86_64.whl"
    assert f"Next: sft deploy full --set wheel.url=https://…/{name}, or sft upload-wheel PATH" in process.stderr
    alone = sft(server, home, "deploy", "--set", f"wheel.url={url}")
    assert (alone.returncode, "--set needs a profile" in alone.stderr) == (2, True)


def test_cards_cores_and_memory_are_chosen_for_each_call(deployed: ModalServer, home: Path) -> None:
    wanted = ["compute=modal", "modal.gpu=H100:2", "modal.cpu=4", "modal.memory_mb=8192", "train.precision=bf16"]
    wanted.append("train.gradient_accumulation_steps=2")
    sft(deployed, home, "doctor", "smoke", *[part for s in wanted for part in ("--set", s)], "--check", "python")
    (options,) = deployed.options.values()
    resources = options.resources
    assert (resources.gpu_config.gpu_type, resources.gpu_config.count) == ("H100", 2)
    assert (resources.milli_cpu, resources.memory_mb) == (4000, 8192)
    asked = [compute.modal._gpu(job, "H100:2") for job in ("train", "inspect_environment", "evaluate", "infer")]
    assert asked == ["H100:2", "H100:2", "H100", "H100"], "what reads needs no second card"
    asked = [compute.modal._gpu(job, "A100-80GB,H100") for job in ("train", "inspect_environment", "evaluate")]
    assert asked == ["", "A100-80GB", "A100-80GB"]
    assert deployed.cards["train_erniekit_fallback"] == ["A100-80GB", "H100"]


def test_a_refused_token_says_what_to_run(server: ModalServer, home: Path) -> None:
    server.token_valid = False
    process = sft(server, home, "deploy")
    assert process.returncode == 1
    assert "Next: modal token new" in process.stderr


def test_a_missing_token_says_what_to_run(server: ModalServer, home: Path) -> None:
    variables = {k: v for k, v in environment(server, home).items() if not k.startswith("MODAL_TOKEN")}
    process = subprocess.run([SFT, "deploy"], cwd=home, env=variables, capture_output=True, text=True)
    assert process.returncode == 1
    assert "Next: modal token new" in process.stderr


def test_the_images_are_built_by_the_steps_that_are_replayed_here(deployed: ModalServer) -> None:
    for engine, wheel in WHEELS.items():
        commands = layers(deployed, f"train_{engine}")
        assert not any("bcebos" in line or "paddle-whl" in line for line in commands)
        lock, paddle = f"/environments/{engine}.txt", f"/models/{wheel.path}"
        steps = [step.filled(python=INTERPRETER, lock=lock, paddle=paddle) for step in RECIPES[engine]]
        wanted = [f"RUN {command}" for commands in steps for command in commands]
        assert commands[-len(wanted) :] == wanted, "nothing comes behind the last imports"
        assert wanted[0].endswith(f"{lock} {paddle}"), "the wheel with its dependencies, as one resolution"
    one, other = (layers(deployed, f"train_{engine}") for engine in WHEELS)
    common = list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other)))
    assert any("apt-get install" in line for line, _ in common), "the base is shared by all images"


def test_whatever_reads_has_transformers_beside_the_engine(deployed: ModalServer) -> None:
    engine, check = (layers(deployed, function) for function in ("train_paddleformers", "check_export"))
    assert check[: len(engine)] == engine, "the environment of the engine is the trainer's"
    assert all(layers(deployed, function) == check for function in ("evaluate", "compare", "predict", "choose_reader"))
    more = "\n".join(check[len(engine) :])
    python = "/second-reader/venv/bin/python"
    assert f"RUN {python} -m pip install -r /second-reader/torch.txt -r /second-reader/transformers.txt" in more
    assert f"{VARIABLE}={python}" in more
    assert VARIABLE not in "\n".join(layers(deployed, "infer")), "no other function downloads torch"
    assert VLLM not in deployed.deployed, "an image that nobody has built must not keep the others from being deployed"


def test_vllm_is_an_app_of_its_own_and_what_misses_it_says_what_deploys_it(deployed: ModalServer, home: Path) -> None:
    rows = home / "rows.jsonl"
    Image.new("L", (56, 28)).save(home / "1.png")
    rows.write_text(json.dumps(Dataset(home).row("./1.png")) + "\n")
    asked = ("evaluate", "base", str(rows), "--set", "compute=modal", "--set", "evaluate.backend=vllm")
    cards = ("--set", "engine=paddleformers", "--set", "train.precision=bf16", "--set", "modal.gpu=A10G")
    done = sft(deployed, home, *asked, *cards, more={"PREFECT_API_URL": str(get_current_settings().api.url)})
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Next: sft deploy --vllm" in done.stderr
    deploy = [sys.executable, "-c", DEPLOY.replace("deploy_all(print)", "deploy_all(print, with_vllm=True)")]
    process = subprocess.run(deploy, cwd=home, env=environment(deployed, home), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    alone = "\n".join(layers(deployed, "predict_vllm"))
    assert "--requirement /vllm/vllm.txt" in alone
    assert "paddle" not in alone.lower().replace("paddleocrvl", "")


def layers(server: ModalServer, function: str) -> list[str]:
    """The RUN, FROM, … lines of a function's image, from its base upwards; mounts and settings are left out."""
    image_id, chain = server.functions[f"fu-{function}"].image_id, []
    while image_id:
        image = server.images[image_id]
        chain.append([c for c in image.dockerfile_commands if not c.startswith("FROM base")])
        image_id = image.base_images[0].image_id if image.base_images else ""
    return [line for commands in reversed(chain) for line in commands]


def test_the_wheel_step_mounts_the_models_volume(deployed: ModalServer) -> None:
    for image in deployed.images.values():
        if any("/models/wheels" in line for line in image.dockerfile_commands):
            assert [(m.mount_path, m.volume_id) for m in image.volume_mounts] == [("/models", "vo-paddleocr-vl-models")]


def test_a_dataset_is_validated_then_uploaded_once(server: ModalServer, home: Path) -> None:
    from tests.conftest import Dataset

    data = Dataset(home / "data")
    data.write("train.jsonl", [data.row(data.image(f"img/{i}.png", i)) for i in range(3)])
    data.write("held.jsonl", [data.row(data.image("img/9.png", 9))])
    first = sft(server, home, "upload", "data/train.jsonl", "data/held.jsonl")
    assert "6 files uploaded" in first.stdout, first.stderr
    second = sft(server, home, "upload", "data/train.jsonl", "data/held.jsonl")
    assert "on the data volume already" in second.stdout
    data.write("train.jsonl", [data.row("missing.png")])
    broken = sft(server, home, "upload", "data/train.jsonl", "data/held.jsonl")
    assert broken.returncode == 2
    assert len(list((server.volumes_folder / "vo-paddleocr-vl-data" / "datasets").iterdir())) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_the_images_are_the_recorded_ones(deployed: ModalServer, engine: str) -> None:
    """Golden: whoever changes an image sees here what that builds anew. SFT_GOLDEN=1 writes the file."""
    golden = Path(__file__).parents[1] / "golden" / f"dockerfile-{engine}.txt"
    commands = "\n".join(layers(deployed, f"train_{engine}")) + "\n"
    if os.environ.get("SFT_GOLDEN"):
        golden.write_text(commands)
    assert golden.read_text() == commands


def test_the_doctor_examines_this_side_and_the_container(deployed: ModalServer, home: Path) -> None:
    cpu = [part for setting in SETTINGS[:2] for part in ("--set", setting)]

    def found(text: str) -> dict[str, str]:
        return {line[8:24].strip(): line[:6].strip() for line in text.splitlines()}

    well = sft(deployed, home, "doctor", "smoke", *cpu)
    assert well.returncode == 0, well.stdout + well.stderr
    names = [
        "base model",
        "token",
        "set-up app",
        "GPU app",
        "volumes",
        "secret",
        "up to date",
        "night",
        "python",
        "paddle",
        "trainer",
        "deps",
        "disk",
    ]
    assert found(well.stdout) == dict.fromkeys(names, "ok")
    assert "not deployed, and not needed: sft deploy --night" in well.stdout
    one = sft(deployed, home, "doctor", "smoke", *cpu, "--check", "paddle")
    assert found(one.stdout) == {"paddle": "ok"}
    calls = len(deployed.calls)
    outside = sft(deployed, home, "doctor", "smoke", *cpu, "--check", "volumes", "--check", "night")
    assert found(outside.stdout) == {"volumes": "ok", "night": "ok"}
    assert len(deployed.calls) == calls, "a container was started for nothing"
    code = sft(deployed, home, "doctor", "smoke", *cpu, "--check", "up to date")
    assert found(code.stdout) == {"up to date": "ok"}
    ill = sft(deployed, home, "doctor", "full")  # this machine has neither a GPU nor ERNIE
    assert ill.returncode == 1
    assert "FAILED  cuda" in ill.stdout
    assert ill.stdout.count("FAILED") == ill.stdout.count("Next: ")
    unknown = sft(deployed, home, "doctor", "smoke", *cpu, "--check", "cudaa")
    assert (unknown.returncode, "no such check" in unknown.stderr) == (2, True)


def test_the_doctor_finds_a_missing_deployment(server: ModalServer, home: Path) -> None:
    process = sft(server, home, "doctor", "full", "--check", "night")
    assert process.returncode == 1
    assert "FAILED  set-up app" in process.stdout, "what fails on the way is said, too"
    assert "Next: sft deploy" in process.stdout


def test_a_base_model_that_is_not_there_yet_is_fetched_to_read(deployed: ModalServer, home: Path) -> None:
    cpu = [part for setting in SETTINGS[:2] for part in ("--set", setting)]
    Image.new("L", (84, 28), 255).save(home / "blank.png")
    early = sft(deployed, home, "infer", "blank.png", "--model", "base", *cpu)
    assert early.returncode == 0, early.stderr
    assert json.loads((home / "read" / "blank.json").read_text())["model"] == "base"

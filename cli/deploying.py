"""What is done at Modal before a run: deployment, wheels, data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modal

from compute.modal import ModalCompute
from compute.reach import ready, translated
from compute.records import put_json
from compute.select import compute_for
from modal_infra.app import app, setup, vllm
from modal_infra.entries import leases
from modal_infra.names import SETUP
from runs.checking import KNOWN_WHEELS, check_wheel
from runs.dataset import limits_for
from runs.fetched import known_wheel
from runs.uploading import name_dataset
from runs.uploading import upload as send
from runs.waiting import Heard, run_job
from sft.config import RunConfig
from sft.dataset.files import DatasetFiles
from sft.dataset.validate import validate
from sft.errors import ComputeError, InputError
from sft.jobs.fetch_sample import check_sample, sample_args
from sft.plan import wheel_args
from sft.store import records
from sft.store.shards.choosing import Packing
from sft.training.wheels import WHEELS

Say = Callable[[str], None]


def any_config(engine: str) -> RunConfig:
    """A configuration that is good for questions about an engine; its dataset is never read."""
    dataset = {"train": "train.jsonl", "held_out": "held_out.jsonl"}
    wheel = {"build": os.environ.get("SFT_WHEEL_BUILD", "stable")}
    return RunConfig.model_validate({"engine": engine, "dataset": dataset, "wheel": wheel})


def deploy_all(say: Say, given: RunConfig | None = None, *, with_vllm: bool = False) -> None:
    """Deploy the set-up functions, fetch the wheels that are missing, then deploy the GPU functions.

    Args:
        given: a configuration whose wheel is that of its engine.
        with_vllm: also what reads with vLLM, an app of its own, whose image nobody has seen built.
    Raises:
        ComputeError: no token, or an image could not be built.
        IntegrityError, InputError, TransientError: a wheel could not be fetched.
    """
    with translated("the Dict of the leases"):
        leases().hydrate()  # now, where a person sees it if the token may not; a container would make it, too
    deploy_app(setup, say)
    for engine in WHEELS:
        config = given if given is not None and given.engine == engine else any_config(engine)
        compute, args = ModalCompute(config), wheel_args(config)
        if known_wheel(compute, args.path):
            say(f"wheel {args.path}: on the models volume already")
            continue
        say(f"wheel {args.path}: fetching it to the models volume, once")
        try:
            record = run_job(compute, "download_wheel", args.model_dump(), _tells(say))
        except InputError as error:
            profile, name = ("full" if engine == "erniekit" else "lora"), args.path.rsplit("/", 1)[-1]
            remedy = f"sft deploy {profile} --set wheel.url=https://…/{name}, or sft upload-wheel PATH"
            raise InputError(error.message, where=error.where, value=error.value, remedy=remedy) from error
        say(f"wheel {args.path}: {record['size'] / 1e9:.2f} GB, sha256 {record['sha256']}")
    deploy_app(app, say)
    if with_vllm:
        deploy_app(vllm, say)
    say("deployed: sft run full starts a training")


def deploy_app(deployed: modal.App, say: Say) -> None:
    """Deploy one app; says which.

    Raises:
        ComputeError: Modal refuses it, or an image could not be built.
    """
    say(f"deploying {deployed.name}")
    try:
        with translated(f"app {deployed.name}"):
            deployed.deploy()
    except modal.exception.RemoteError as error:
        raise ComputeError(
            f"an image could not be built: {error}",
            where=f"app {deployed.name}",
            remedy="read the build's log in Modal's dashboard, then sft deploy again: finished layers are kept",
        ) from error


def _tells(say: Say) -> Heard:
    """Says how far a download is every ten seconds."""
    spoken = [time.monotonic()]

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "download" and time.monotonic() - spoken[0] > 10:
            spoken[0] = time.monotonic()
            say(f"  {event['file']}: {event['bytes']:,} of {event['total']:,}")

    return hear


def put_wheel(path: Path) -> str:
    """Upload a wheel with its record; returns what was done.

    Raises:
        InputError: no such file, or not one of the wheels that the engines need.
    """
    check_wheel(path)
    target = KNOWN_WHEELS[path.name].path
    compute = compute_for(any_config("erniekit"))
    record = {"path": target, "url": "uploaded", "size": path.stat().st_size, "sha256": records.hash_file(path)}
    compute.put("models", path, target)
    # last: without it the wheel does not count
    put_json(compute, "models", f"{target}.json", {**record, "finished": time.time()})
    return f"wheel {target}: {record['size']} bytes, sha256 {record['sha256']}"


def put_dataset(train: Path, held_out: Path, dev: Path | None, say: Say, name: str = "", pack: Packing = "auto") -> str:
    """Validate the files and upload them; returns what was done.

    Args:
        name: that stands for them from now on; empty for none.
        pack: are the images packed (see :mod:`sft.store.shards`)?
    Raises:
        DatasetError: the dataset is broken; nothing was sent.
    """
    config = any_config("erniekit")
    compute, files = compute_for(config), DatasetFiles.of(train, held_out, dev)
    report = validate(train, held_out, config.dataset, limits_for(config, compute, say), dev=dev)
    report.check()
    count = send(files, report, compute, say, lambda paths: compute.check_room("data", paths, say), pack)
    place = compute.dataset_root(files.root, report.fingerprint)
    done = f"{place}: {count} files uploaded" if count else f"{place}: on the data volume already"
    return f"{done}; dataset.volume={name_dataset(compute, name, place)} means it from now on" if name else done


def get_sample(config: RunConfig, name: str, say: Say) -> None:
    """Fetch a sample set to the data volume of the configuration's compute; says how to train on it.

    Raises:
        InputError: no sample set of that name.
        DatasetError, TransientError: an image or a file could not be fetched; what has arrived is kept.
    """
    check_sample(name)
    compute = compute_for(config)

    def started(call_id: str) -> None:
        say(f"sample {name}: call {call_id} ({compute.link(call_id)})")

    record = run_job(compute, "fetch_sample", sample_args(name).model_dump(), _tells(say), started)
    say(f"{record['volume']}: {record['train']['rows']} training and {record['held_out']['rows']} held-out rows, valid")
    say(f"train on it: sft run full --set dataset.volume={record['volume']}")


def board_address() -> str:
    """Where Modal serves TensorBoard.

    Raises:
        ComputeError: it is not deployed.
    """
    ready()
    with translated("function tensorboard"):
        function = modal.Function.from_name(SETUP, "tensorboard")
        return str(function.get_web_url())

"""The two apps: thin functions, each mounts the volumes, calls its job and commits.

``setup`` has what needs no GPU and is deployed first: it fetches the wheel that the images of ``app`` install.

Arguments and results are plain data: an outcome is ``{"ok": true, "value": …}`` or ``{"ok": false, "error": …}``
(:func:`sft.errors.to_wire`), because container and caller run different Pythons. GPU and timeout are chosen by the
caller for each call (``with_options``), so that changing them needs no deployment.
"""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from typing import Any

import modal

from modal_infra.image import engine_image, light, vllm_image
from modal_infra.names import APP, FALLBACK, SETUP, VLLM
from modal_infra.running import run_job
from modal_infra.volumes import MOUNTED, VOLUMES, refresh
from sft.store.volumes import RUNS
from sft.training.events import TENSORBOARD

MINUTES = 60  # seconds
HOURS = 60 * MINUTES
LONGEST = 24 * HOURS  # what Modal allows

PORT = 6006  # of TensorBoard
setup = modal.App(SETUP)
app = modal.App(APP)
vllm = modal.App(VLLM)
# What all trainings share. single_use: nothing of an earlier training is left on a GPU.
TRAINING: dict[str, Any] = {"volumes": VOLUMES, "timeout": LONGEST, "single_use_containers": True}


@setup.function(image=light(), volumes=VOLUMES, timeout=2 * HOURS, max_containers=1)
def download_wheel(args: dict[str, Any]) -> dict[str, Any]:
    """One container at most: a wheel is never downloaded twice at once."""
    return run_job("download_wheel", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=4 * HOURS, max_containers=1)
def download_model(args: dict[str, Any]) -> dict[str, Any]:
    """A lease keeps a model from being downloaded twice at once. The caller adds the secret, where there is one."""
    return run_job("download_model", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=4 * HOURS, max_containers=1)
def fetch_sample(args: dict[str, Any]) -> dict[str, Any]:
    """A public sample set, fetched here and not through the user's line."""
    return run_job("fetch_sample", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=LONGEST, cpu=2.0)
def bring_dataset(args: dict[str, Any]) -> dict[str, Any]:
    """A dataset of the Hub or a bucket comes to the data volume. The caller adds the secrets, where there are some."""
    return run_job("bring_dataset", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=LONGEST, cpu=1.0)
def scan_rows(args: dict[str, Any]) -> dict[str, Any]:
    """A share of a dataset's rows and images is looked at; shares run in containers of their own, side by side."""
    return run_job("scan_rows", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=4 * HOURS, cpu=1.0)
def split_rows(args: dict[str, Any]) -> dict[str, Any]:
    """Rows on the data volume are split by document."""
    return run_job("split_rows", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=4 * HOURS, cpu=1.0)
def merge_scans(args: dict[str, Any]) -> dict[str, Any]:
    """What the shares came to becomes one report."""
    return run_job("merge_scans", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=1 * HOURS)
def hash_files(args: dict[str, Any]) -> dict[str, Any]:
    """Hashes of what lies on a volume."""
    return run_job("hash_files", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=1 * HOURS)
def cleanup(args: dict[str, Any]) -> dict[str, Any]:
    """Remove what finished trainings no longer need."""
    return run_job("cleanup", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=LONGEST, max_containers=1, scaledown_window=10 * MINUTES)
@modal.concurrent(max_inputs=100)
@modal.web_server(PORT, startup_timeout=2 * MINUTES, requires_proxy_auth=True)  # only with a token of the workspace
def tensorboard() -> None:
    """TensorBoard over all trainings of the outputs volume; what others commit is shown within half a minute."""
    subprocess.Popen([*TENSORBOARD, "--logdir", str(MOUNTED.outputs / RUNS), "--bind_all", "--port", str(PORT)])
    threading.Thread(target=_keep_refreshing, daemon=True).start()


def _keep_refreshing() -> None:
    while True:
        time.sleep(30)
        with suppress(Exception):  # a page that is served goes on; what is new is shown the next time
            refresh()


@setup.function(image=light(), volumes=VOLUMES, timeout=1 * HOURS)
def choose(args: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint that read the dev rows best becomes the training's model."""
    return run_job("choose", args)


@setup.function(image=light(), volumes=VOLUMES, timeout=1 * HOURS, max_containers=1)
def promote(args: dict[str, Any]) -> dict[str, Any]:
    """One container at most: promotions of a line follow each other."""
    return run_job("promote", args)


@app.function(image=engine_image("erniekit"), **TRAINING)
def train_erniekit(args: dict[str, Any]) -> dict[str, Any]:
    """A container of its own for each training: nothing of an earlier one is left on its GPU."""
    return run_job("train", args)


@app.function(image=engine_image("paddleformers"), **TRAINING)
def train_paddleformers(args: dict[str, Any]) -> dict[str, Any]:
    """A container of its own for each training: nothing of an earlier one is left on its GPU."""
    return run_job("train", args)


@app.function(image=engine_image("transformers"), **TRAINING)
def train_transformers(args: dict[str, Any]) -> dict[str, Any]:
    """A container of its own for each training: nothing of an earlier one is left on its GPU."""
    return run_job("train", args)


@app.function(image=engine_image("erniekit"), gpu=list(FALLBACK), **TRAINING)
def train_erniekit_fallback(args: dict[str, Any]) -> dict[str, Any]:
    """The same on whichever of the cards is free first."""
    return run_job("train", args)


@app.function(image=engine_image("paddleformers"), gpu=list(FALLBACK), **TRAINING)
def train_paddleformers_fallback(args: dict[str, Any]) -> dict[str, Any]:
    """The same on whichever of the cards is free first."""
    return run_job("train", args)


@app.function(image=engine_image("transformers"), gpu=list(FALLBACK), **TRAINING)
def train_transformers_fallback(args: dict[str, Any]) -> dict[str, Any]:
    """The same on whichever of the cards is free first."""
    return run_job("train", args)


# Evaluation decodes with PaddleFormers' model class for all engines: their saved models have one format. Beside it is
# transformers, which reads where it is found to read alike, and checks an export.
reading = engine_image("paddleformers", second_reader=True)


@app.function(image=reading, volumes=VOLUMES, timeout=6 * HOURS)
def evaluate(args: dict[str, Any]) -> dict[str, Any]:
    """Base and tuned model on the held-out rows."""
    return run_job("evaluate", args)


@app.function(image=reading, volumes=VOLUMES, timeout=6 * HOURS)
def compare(args: dict[str, Any]) -> dict[str, Any]:
    """Any models on the same rows, without a training."""
    return run_job("compare", args)


@app.function(image=reading, volumes=VOLUMES, timeout=6 * HOURS)
def doubt(args: dict[str, Any]) -> dict[str, Any]:
    """Labels that are probably wrong."""
    return run_job("doubt", args)


@app.function(image=engine_image("erniekit"), volumes=VOLUMES, timeout=20 * MINUTES)
def inspect_environment_erniekit(args: dict[str, Any]) -> dict[str, Any]:
    """The checks of ``sft doctor``, in the image and on the GPU that a training would have."""
    return run_job("inspect_environment", args)


@app.function(image=engine_image("paddleformers"), volumes=VOLUMES, timeout=20 * MINUTES)
def inspect_environment_paddleformers(args: dict[str, Any]) -> dict[str, Any]:
    """The checks of ``sft doctor``, in the image and on the GPU that a training would have."""
    return run_job("inspect_environment", args)


@app.function(image=engine_image("transformers"), volumes=VOLUMES, timeout=20 * MINUTES)
def inspect_environment_transformers(args: dict[str, Any]) -> dict[str, Any]:
    """The checks of ``sft doctor``, in the image and on the GPU that a training would have."""
    return run_job("inspect_environment", args)


@app.function(image=reading, volumes=VOLUMES, timeout=1 * HOURS)
def choose_reader(args: dict[str, Any]) -> dict[str, Any]:
    """Which backend reads, before the rows are shared out."""
    return run_job("choose_reader", args)


@app.function(image=reading, volumes=VOLUMES, timeout=6 * HOURS)
def predict(args: dict[str, Any]) -> dict[str, Any]:
    """A share of the held-out rows; shares run in containers of their own, side by side."""
    return run_job("predict", args)


@app.function(image=engine_image("paddleformers"), volumes=VOLUMES, timeout=2 * HOURS)
def read_dev(args: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint reads dev rows, beside the training."""
    return run_job("read_dev", args)


@vllm.function(image=vllm_image(), volumes=VOLUMES, timeout=6 * HOURS)
def predict_vllm(args: dict[str, Any]) -> dict[str, Any]:
    """The same, read by vLLM."""
    return run_job("predict", args)


# single_use: the model is loaded by a process that has never seen it.
@app.function(image=reading, volumes=VOLUMES, timeout=2 * HOURS, single_use_containers=True)
def check_export(args: dict[str, Any]) -> dict[str, Any]:
    """The saved model loads and gives the answers that were evaluated."""
    return run_job("check_export", args)


@app.function(image=engine_image("paddleformers"), volumes=VOLUMES, timeout=2 * HOURS)
def infer(args: dict[str, Any]) -> dict[str, Any]:
    """A model reads images."""
    return run_job("infer", args)


@app.function(image=engine_image("paddleformers"), volumes=VOLUMES, timeout=2 * HOURS)
def parse_pages(args: dict[str, Any]) -> dict[str, Any]:
    """PaddleOCR's document parser reads whole pages."""
    return run_job("parse_pages", args)

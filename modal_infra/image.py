"""The images: one base, and on it the steps of each environment (recipes.py).

The wheel of paddlepaddle (1.9 GB) is installed from the models volume while the image is built: no build downloads
it. Nothing of the caller's disk but the code of this project and a lock file gets in, and the code is mounted, not
built in.

The base has no CUDA. Since 2024 Paddle's wheels declare CUDA's libraries as nvidia-* packages and look for them there
(Paddle #60841, the flags at the end of ``paddle/__init__.py``), and nothing that we install compiles with nvcc; a
second CUDA beside them could only be the one that is found by mistake. gcc is what triton builds its launcher with.
"""

from __future__ import annotations

import os

import modal

from modal_infra.recipes import BESIDE_LOCKS, INTERPRETER, RECIPES, UV, Step, beside
from modal_infra.volumes import volume
from sft.engines.transformers import Transformers
from sft.environments import FOLDER
from sft.models.readers import VLLM
from sft.models.second_reader import PACKAGES as BESIDE
from sft.models.second_reader import VARIABLE
from sft.training.wheels import WHEELS, wheel

# Debian 12, as where ``make images`` was seen to work; the tag is pinned, because a moving one would build new images
# one night. Modal's own debian_slim is Debian 13 from builder 2026.10 on, whose loader refuses libraries with an
# executable stack: the GPU wheel's have not been seen.
BASE = "python:3.12.10-slim-bookworm"
PACKAGES = ("git", "gcc", "libc6-dev", "libgl1", "libglib2.0-0")  # git for ERNIE, the last two for OpenCV
LOCKS = "/environments"
SECOND = "/second-reader"
OF_VLLM, VLLM_PLACE = FOLDER / "vllm", "/vllm"
BUILD = os.environ.get("SFT_WHEEL_BUILD", "stable")  # chosen when sft deploy runs; see sft/training/wheels.py
ROOMS = ("cli", "flows", "tasks", "runs", "compute", "modal_infra", "sft")
IGNORED = ["**/__pycache__/**", "**/*.pyc"]  # everything else comes along: weights and templates are no .py files


def light() -> modal.Image:
    """For functions without a GPU."""
    return environment_image("light")


def engine_image(engine: str, *, second_reader: bool = False) -> modal.Image:
    """For the functions of one engine, on a GPU.

    Args:
        engine: one of sft/engines. ``transformers`` trains in the environment of the second reader: beside it the job
            needs nothing but what every job does.
        second_reader: with the environment of transformers beside the engine's (see :mod:`sft.models.second_reader`).
    """
    if engine == Transformers.name:
        return environment_image("light", second_reader=True)
    return environment_image(engine, second_reader=second_reader)


def environment_image(name: str, *, second_reader: bool = False) -> modal.Image:
    """An environment's image, with our code.

    Args:
        name: one of :data:`modal_infra.recipes.RECIPES`.
        second_reader: see :func:`engine_image`.
    """
    image = _before_code(name)
    if second_reader:
        image = _with_second_reader(image)
    return image.add_local_python_source("sft", "modal_infra", ignore=IGNORED)


def night_image() -> modal.Image:
    """For the container that hosts the flow: all of this project's code, without a GPU and without Paddle."""
    return _before_code("night").add_local_python_source(*ROOMS, ignore=IGNORED)


def _before_code(name: str) -> modal.Image:
    image = modal.Image.from_registry(BASE).apt_install(*PACKAGES).run_commands(f"python -m pip install {UV}")
    image = image.env({"SFT_WHEEL_BUILD": BUILD})  # for the check ``paddle`` of sft doctor
    image = image.add_local_file(FOLDER / f"{name}.txt", f"{LOCKS}/{name}.txt", copy=True)
    for step in RECIPES[name]:
        image = _layer(image, step, name)
    return image


def _layer(image: modal.Image, step: Step, name: str) -> modal.Image:
    paddle = f"/models/{wheel(name, BUILD).path}" if name in WHEELS else ""
    commands = step.filled(python=INTERPRETER, lock=f"{LOCKS}/{name}.txt", paddle=paddle)
    return image.run_commands(*commands, volumes={"/models": volume("models")} if step.paddle else None)


def vllm_image() -> modal.Image:
    """For reading with vLLM on a GPU: its environment beside what every job needs, and no Paddle. Never built yet."""
    python = f"{VLLM_PLACE}/venv/bin/python"
    image = _before_code("light").add_local_file(OF_VLLM / "vllm.txt", f"{VLLM_PLACE}/vllm.txt", copy=True)
    image = image.run_commands(
        f"{INTERPRETER} -m venv {VLLM_PLACE}/venv",
        f"uv pip install --python {python} --requirement {VLLM_PLACE}/vllm.txt",
        f"{python} -c 'import vllm; from transformers import PaddleOCRVLForConditionalGeneration'",
    )
    return image.env({VLLM: python}).add_local_python_source("sft", "modal_infra", ignore=IGNORED)


def _with_second_reader(image: modal.Image) -> modal.Image:
    for name in BESIDE_LOCKS:
        image = image.add_local_file(BESIDE / name, f"{SECOND}/{name}", copy=True)
    return image.run_commands(*beside(INTERPRETER, SECOND)).env({VARIABLE: f"{SECOND}/venv/bin/python"})

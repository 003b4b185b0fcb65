"""The image: one definition, shared lower layers, a variant for each engine.

The wheel of paddlepaddle (1.9 GB) is installed from the models volume while the image is built: no build downloads
it. Nothing of the caller's disk but the code of this project gets in, and the code is mounted, not built in.
"""

from __future__ import annotations

import os

import modal

from modal_infra.volumes import volume
from sft.engines.erniekit import ERNIE_COMMIT
from sft.wheels import WheelSource, wheel

# CUDA 12.6 is what the cu126 wheels are built for; devel, because ERNIE compiles an extension; tag pinned, because a
# moving tag would build a new image one night.
CUDA = "nvidia/cuda:12.6.3-cudnn-devel-ubuntu22.04"
PYTHON = "3.10"  # the GPU wheels are cp310
ERNIE = "/paddle/ERNIE"
BUILD = os.environ.get("SFT_WHEEL_BUILD", "stable")  # chosen when sft deploy runs; see sft/wheels.py

# What sft/ needs in a container: the versions of requirements-310.txt, under which its tests run.
DOMAIN = (
    "pydantic==2.14.4",
    "pyyaml==6.0.2",
    "pillow==12.3.0",
    "msgspec==0.22.0",
    "rapidfuzz==3.14.5",
    "jinja2==3.1.6",
    "httpx==0.28.1",
    "tenacity==9.2.1",
    "huggingface-hub==1.33.0",
    "safetensors==0.8.0",
    "zstandard==0.25.0",
    "scipy==1.15.3",
    "apted==1.0.3",
)
BOARD = "tensorboard==2.21.0"
NUMPY = "numpy==1.26.4"  # paddle asks for >= 2, paddleformers for <= 1.26.4, which works with both: it comes last
IGNORED = ["**/__pycache__/**", "**/*.pyc"]  # everything else comes along: weights and templates are no .py files


def light() -> modal.Image:
    """For functions without a GPU."""
    return _with_code(modal.Image.debian_slim(python_version=PYTHON).pip_install(*DOMAIN, NUMPY))


def board() -> modal.Image:
    """For TensorBoard's web page."""
    return _with_code(modal.Image.debian_slim(python_version=PYTHON).pip_install(*DOMAIN, NUMPY, BOARD))


def engine_image(engine: str) -> modal.Image:
    """For the functions of one engine, on a GPU.

    Args:
        engine: erniekit or paddleformers.
    """
    upper = {"erniekit": _erniekit, "paddleformers": _paddleformers}[engine]
    image = upper(_with_paddle(_base(), wheel(engine, BUILD)))
    return _with_code(image.run_commands(f"python -m pip install --no-deps {NUMPY}"))


def _base() -> modal.Image:
    """The layers that all variants share."""
    return (
        modal.Image.from_registry(CUDA, add_python=PYTHON)
        .apt_install("git", "libgl1", "libglib2.0-0")  # git for ERNIE, the libraries for OpenCV
        .pip_install(
            *DOMAIN,
            BOARD,
            "opencv-python-headless==4.11.0.86",  # headless: no display; the last whose metadata allows numpy 1
            "paddleocr[doc-parser]==3.3.2",  # page-level inference of a tuned model
        )
    )


def _with_paddle(image: modal.Image, source: WheelSource) -> modal.Image:
    # --no-deps: the wheel asks for numpy >= 2 and would undo the pins below.
    install = f"python -m pip install --no-deps /models/{source.path}"
    return image.run_commands(install, volumes={"/models": volume("models")})


def _erniekit(image: modal.Image) -> modal.Image:
    return image.run_commands(
        f"git clone --filter=blob:none https://github.com/PaddlePaddle/ERNIE {ERNIE}",
        # PyPI's erniekit has no OCR-VL stage; ERNIE's develop branch has, at this commit.
        f"cd {ERNIE} && git checkout {ERNIE_COMMIT}",
        f"cd {ERNIE} && python -m pip install -r requirements/gpu/requirements.txt",
        f"cd {ERNIE} && python -m pip install --no-deps -e .",
    )


def _paddleformers(image: modal.Image) -> modal.Image:
    # pyarrow < 22: newer ones need numpy 2, and datasets does not bound them.
    return image.pip_install("paddleformers==1.2.0", "pyarrow<22")


def _with_code(image: modal.Image) -> modal.Image:
    return image.add_local_python_source("sft", "modal_infra", ignore=IGNORED)

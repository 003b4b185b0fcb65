"""The environments in which jobs run at Modal: the packages of each, and what each must be able to import.

NAME.in says what is needed and why, NAME.txt (``make lock``) pins every package for the image's Python. How they are
built stands in :mod:`modal_infra.recipes`. :data:`IMPORTS` is read by three: the last layer of each image, ``make
images``, and the checks of ``sft doctor``; a package that imports at its top (``import erniekit``, ``import
paddleformers``) tells nothing, so the list has the modules that a training, a reading and a page's parsing import.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
PYTHON = "3.12"  # of every image; GPU wheels are named after it

# Environment → check of ``sft doctor`` → what it imports, "module" or "module:name". Paddle first: others lean on it.
IMPORTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "light": {
        "deps": (
            *("pydantic", "yaml", "PIL.Image", "msgspec", "rapidfuzz", "jinja2", "httpx", "tenacity", "zstandard"),
            *("xxhash", "numpy", "scipy.stats", "fontTools.unicodedata", "safetensors.numpy", "huggingface_hub"),
            "tensorboard.main",
        ),
    },
    "night": {
        "deps": (
            *("pydantic", "yaml", "PIL.Image", "msgspec", "rapidfuzz", "jinja2", "httpx", "tenacity", "zstandard"),
            *("xxhash", "numpy", "scipy.stats", "fontTools.unicodedata", "safetensors.numpy", "huggingface_hub"),
            *("modal", "prefect.server.api.server", "prefect_email", "typer", "rich"),
        ),
    },
    "erniekit": {
        "paddle": ("paddle",),
        "deps": (
            *("cv2", "visualdl", "safetensors.numpy", "triton", "use_triton_in_paddle", "decord", "imgaug", "moviepy"),
            *("transformers:AutoTokenizer", "paddleformers.trainer:Trainer", "paddleformers.datasets"),
        ),
        "ernie-import": ("erniekit.cli:main", "erniekit.train.ocr_vl_sft.workflow"),
    },
    "paddleformers": {
        "paddle": ("paddle",),
        "deps": ("cv2", "visualdl", "safetensors.numpy", "triton", "use_triton_in_paddle", "huggingface_hub"),
        "trainer": (
            *("paddleformers.cli.launcher", "paddleformers.cli.train.sft.workflow", "paddleformers.peft:LoRAModel"),
            "paddleformers.transformers.paddleocr_vl.modeling",
        ),
        "pages": ("paddleocr:PaddleOCRVL",),
    },
}

# What ``pip check`` says of each environment although it works; anything else is a fault.
COMPLAINTS: Mapping[str, tuple[str, ...]] = {
    # The wheel's tag says manylinux2010 in one place and a bare platform in another; it imports and reads videos.
    "erniekit": ("decord 0.6.0 is not supported on this platform",),
}


def statement(imports: Iterable[str]) -> str:
    """Python code for ``python -c`` that imports all of them.

    Example: statement(["cv2", "paddleocr:PaddleOCRVL"]) → ``import cv2; from paddleocr import PaddleOCRVL``.
    """
    parts = (name.partition(":") for name in imports)
    return "; ".join(f"from {module} import {what}" if what else f"import {module}" for module, _, what in parts)


def pins(name: str) -> dict[str, str]:
    """Package → version, of an environment's lock file: without paddle, which is a wheel of its own."""
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    return dict(line.split("==", 1) for line in lines)


# Packages whose other versions are known to end or spoil a training; the .in files have the reasons.
_DECISIVE = ("numpy", "safetensors", "protobuf", "transformers", "paddleformers")


def decisive(name: str) -> dict[str, str]:
    """Package → version, of the packages that ``sft doctor`` compares."""
    return {package: version for package, version in pins(name).items() if package in _DECISIVE}

"""The GPU wheels of paddlepaddle: which engine needs which, and where each lies on the models volume."""

from __future__ import annotations

from dataclasses import dataclass

from sft.environments import PYTHON

FOLDER = "wheels"  # on the models volume
TAG = "cp" + PYTHON.replace(".", "")
_HOST = "https://paddle-whl.bj.bcebos.com/stable/cu126/paddlepaddle-gpu"
_QA = (
    "https://paddle-qa.bj.bcebos.com/paddle-pipeline/"
    "Release-TagBuild-Training-Linux-Gpu-Cuda12.6-Cudnn9.5-Trt10.5-Mkl-Avx-Gcc11-SelfBuiltPypiUse/latest"
)


@dataclass(frozen=True)
class WheelSource:
    """A wheel: its file name and address. Size (bytes) and sha256 are checked where they are known.

    That these addresses exist for the images' Python has not been seen; ``wheel.url`` names another one, and ``sft
    upload-wheel`` puts a file on the volume that came some other way.

    Paddle publishes no hashes for these files: those that stay empty are recorded at the first download and checked
    from then on; ``wheel.sha256`` in the configuration pins one.
    """

    version: str
    url: str
    size: int = 0
    sha256: str = ""

    @property
    def name(self) -> str:
        """The file's name on the volume: pip reads version and platform from it."""
        return _name(self.version)

    @property
    def path(self) -> str:
        """Where it lies on the models volume."""
        return f"{FOLDER}/{self.name}"


def _name(version: str) -> str:
    return f"paddlepaddle_gpu-{version}-{TAG}-{TAG}-linux_x86_64.whl"


def _named(version: str, folder: str) -> WheelSource:
    return WheelSource(version, f"{folder}/{_name(version)}")


# The versions that the environments are locked for (sft/environments/*.in). ERNIEKit's release/v1.5 is trained with
# 3.2.1 by others; paddleformers 1.2.0 does not import with that (no paddle.distributed.fsdp) and needs 3.3.1.
WHEELS = {"erniekit": _named("3.2.1", _HOST), "paddleformers": _named("3.3.1", _HOST)}
# The same release built with cuDNN 9.5; the address moves, so that its hash is that of the first download.
CUDNN95 = _named("0.0.0", _QA)


def wheel(engine: str, build: str = "stable") -> WheelSource:
    """The wheel of an engine. ``build`` is stable or cudnn95 (erniekit only)."""
    return CUDNN95 if build == "cudnn95" and engine == "erniekit" else WHEELS[engine]

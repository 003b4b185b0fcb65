"""How each environment is built: one list of steps, for Modal's images (image.py) and the replay on a CPU (replay.py).

Every command is a template: ``{python}`` is the interpreter, ``{lock}`` the environment's lock file, ``{paddle}`` the
wheel of paddlepaddle: in an image the GPU wheel on the models volume, in the replay the CPU wheel of the same version.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from sft.engines.erniekit import ERNIE_COMMIT
from sft.environments import IMPORTS, statement

UV = "uv==0.13.9"  # installs in an image and in the replay alike
INTERPRETER = "/usr/local/bin/python"  # of an image; as plain "python" uv takes a virtual environment's alone
ERNIE = "/paddle/ERNIE"
BESIDE_LOCKS = ("torch.txt", "transformers.txt")  # of sft/environments/second_reader
_UNREGISTERED = "ERNIEKit's package is on no registry"


@dataclass(frozen=True)
class Step:
    """``commands`` make one layer. ``paddle``: they install the wheel. ``image_only``: why the replay leaves it out."""

    commands: tuple[str, ...]
    paddle: bool = False
    image_only: str = ""

    def filled(self, *, python: str, lock: str, paddle: str) -> tuple[str, ...]:
        """The commands, to be run in a shell."""
        return tuple(command.format(python=python, lock=lock, paddle=paddle) for command in self.commands)


_PACKAGES = Step(("uv pip install --python {python} --requirement {lock}",))
# One resolution: the wheel's own dependencies (opt_einsum, networkx, the nvidia-* libraries of CUDA) under our pins.
_WITH_PADDLE = Step(("uv pip install --python {python} --requirement {lock} {paddle}",), paddle=True)
_ERNIE = Step(
    (
        f"git clone --filter=blob:none https://github.com/PaddlePaddle/ERNIE {ERNIE}",
        f"cd {ERNIE} && git checkout {ERNIE_COMMIT}",
        # --no-deps: all that it needs is in the lock file. PyPI's erniekit has no stage OCR-VL-SFT.
        f"cd {ERNIE} && uv pip install --python {{python}} --no-deps --editable .",
    ),
    image_only=_UNREGISTERED,
)


# Last: opencv-python and opencv-contrib-python, which others ask for, write to the same folder. Installed side by side
# they leave a mixture that does not import; what is written last is whole. A version of the locks.
HEADLESS = "opencv-python-headless==4.11.0.86"
_HEADLESS = Step((f"uv pip install --python {{python}} --reinstall --no-deps {HEADLESS}",))


def _imports(name: str, checks: tuple[str, ...] = (), image_only: str = "") -> Step:
    """A build that is broken fails here, and not on a GPU that is paid for. ``checks``: only these; empty for all."""
    modules = [module for check in checks or IMPORTS[name] for module in IMPORTS[name][check]]
    return Step((f"{{python}} -c {shlex.quote(statement(modules))}",), image_only=image_only)


# Prefect's server would make its tables at each start, which takes it nine seconds (cli/temporary_server.py). One line:
# a Dockerfile's RUN ends with its line.
_TABLES = "; ".join(
    (
        "import os, pathlib, subprocess, sys",
        'place = pathlib.Path(sys.prefix) / "share" / "prefect"',
        "place.mkdir(parents=True, exist_ok=True)",
        'here = {{"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///" + str(place / "empty.db")}}',
        'command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]',
        "subprocess.run(command, check=True, env={{**os.environ, **here}})",
    )
)


def beside(python: str, place: str) -> tuple[str, ...]:
    """The commands for the environment of torch and transformers beside another one: one of its own, as torch and
    Paddle bring different CUDA libraries, and transformers another safetensors.

    Args:
        python: the interpreter of the image.
        place: a folder that has its two lock files already.
    """
    own = f"{place}/venv/bin/python"
    return (
        f"{python} -m venv {place}/venv",
        f"{own} -m pip install -r {place}/torch.txt -r {place}/transformers.txt",
        f"{own} -c 'import torch, accelerate, peft; from transformers import PaddleOCRVLForConditionalGeneration'",
    )


RECIPES: Mapping[str, tuple[Step, ...]] = {
    "light": (_PACKAGES, _imports("light")),
    "night": (_PACKAGES, _imports("night"), Step((f"{{python}} -c {shlex.quote(_TABLES)}",))),
    "erniekit": (
        _WITH_PADDLE,
        _HEADLESS,
        _imports("erniekit", ("paddle", "deps")),
        _ERNIE,
        _imports("erniekit", ("ernie-import",), image_only=_UNREGISTERED),
    ),
    "paddleformers": (_WITH_PADDLE, _HEADLESS, _imports("paddleformers")),
}

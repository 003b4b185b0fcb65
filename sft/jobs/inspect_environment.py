"""Job ``inspect_environment``: is everything there that a training needs? Run where the training would run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.engines.erniekit import ERNIE_COMMIT
from sft.environments import IMPORTS, PYTHON, decisive, statement
from sft.errors import InputError
from sft.jobs.base import Job
from sft.models.second_reader import interpreter
from sft.store.code import code_hash
from sft.training.wheels import wheel

PADDLE = ("erniekit", "paddleformers")  # engines
ALL = (*PADDLE, "transformers")
ERNIE = Path("/paddle/ERNIE")
GUIDE = "examples/configs/PaddleOCR-VL/sft/run_ocr_vl_sft_16k.yaml"
SECONDS = 300  # for one command: a first import of PaddleOCR from a cold disk takes a minute
REDEPLOY = "sft deploy: it builds the image anew where its definition changed"


class InspectArgs(BaseModel):
    """``checks`` are names; empty for all that fit the engine and the device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    device: str
    checks: tuple[str, ...] = ()
    gpus: int = 1  # that are to train together


@dataclass(frozen=True)
class Finding:
    """One check's outcome: what was ``found``, and the remedy where it is not good."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """``engines`` and ``devices`` are those that it fits."""

    name: str
    body: Callable[[InspectArgs], tuple[bool, str]]
    remedy: str
    engines: tuple[str, ...] = PADDLE
    devices: tuple[str, ...] = ("gpu", "cpu")
    quick: bool = False


def _run(*command: str) -> tuple[bool, str]:
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"{command[0]}: {error}"
    told = process.stdout if process.returncode == 0 else process.stdout + process.stderr
    lines = told.strip().splitlines()
    return process.returncode == 0, lines[-1][:500] if lines else f"exit code {process.returncode}"


def _python_says(body: str) -> tuple[bool, str]:
    """A process of its own: what a broken package does to it stays there."""
    return _run(sys.executable, "-c", body)


def _imports(args: InspectArgs, check: str) -> tuple[bool, str]:
    """What an image ends with too (see :mod:`sft.environments`)."""
    modules = IMPORTS[args.engine][check]
    # triton's own module looks for a GPU
    stub = "from sft.environments.cpu_launcher import stub_triton; stub_triton(); " if args.device == "cpu" else ""
    ok, found = _python_says(f"{stub}{statement(modules)}")
    return ok, ", ".join(modules) if ok else found


def _python(args: InspectArgs) -> tuple[bool, str]:
    found = sys.version.split()[0]
    return (found.startswith(f"{PYTHON}.") if args.device == "gpu" else sys.version_info >= (3, 11)), found


def _cuda(args: InspectArgs) -> tuple[bool, str]:
    """Each card's line begins with how many there are."""
    ok, found = _run("nvidia-smi", "--query-gpu=count,name,driver_version,memory.total", "--format=csv,noheader")
    there = int(found.partition(",")[0]) if ok and found.partition(",")[0].isdecimal() else args.gpus
    return (ok, found) if there >= args.gpus else (False, f"{args.gpus} GPUs are to train, and there are {found}")


def _paddle(args: InspectArgs) -> tuple[bool, str]:
    ok, found = _python_says("import paddle; print(paddle.__version__)")
    # what the image was built with: it carries the name of the build
    wanted = wheel(args.engine, os.environ.get("SFT_WHEEL_BUILD", "stable")).version
    if not ok or args.device == "cpu" or found == wanted:
        return ok, found
    return False, f"{found}, and not {wanted}"


def _paddle_gpu(args: InspectArgs) -> tuple[bool, str]:
    body = (
        "import paddle; assert paddle.is_compiled_with_cuda(), 'built without CUDA'; paddle.set_device('gpu'); "
        "x = paddle.ones([64, 64]); assert float((x @ x).sum()) == 64**3; print(paddle.device.cuda.get_device_name())"
    )
    return _python_says(body)


def _torch(args: InspectArgs) -> tuple[bool, str]:
    """In the other environment: all that the trainer imports, and on a GPU a product that is computed there."""
    python = interpreter()
    if python is None:
        return False, "no environment with torch"
    product = "x = torch.ones(64, 64, device='cuda'); assert float((x @ x).sum()) == 64**3; "
    on_gpu = product if args.device == "gpu" else ""
    body = (
        f"import torch, transformers, accelerate, peft, yaml; {on_gpu}"
        "print(*(f'{m.__name__} {m.__version__}' for m in (torch, transformers, accelerate, peft)), sep=', ')"
    )
    return _run(str(python), "-I", "-c", body)


def _ernie(args: InspectArgs) -> tuple[bool, str]:
    ok, found = _run("git", "-C", str(ERNIE), "rev-parse", "HEAD")
    return ok and found == ERNIE_COMMIT, found


def _ernie_import(args: InspectArgs) -> tuple[bool, str]:
    return _imports(args, "ernie-import")


def _ernie_command(args: InspectArgs) -> tuple[bool, str]:
    return (True, str(shutil.which("erniekit"))) if shutil.which("erniekit") else (False, "not on PATH")


def _trainer(args: InspectArgs) -> tuple[bool, str]:
    return _imports(args, "trainer")


def _pages(args: InspectArgs) -> tuple[bool, str]:
    return _imports(args, "pages")


def _packages(args: InspectArgs) -> tuple[bool, str]:
    """The versions, as a process like the trainer's finds them, and on a GPU what else the trainer imports."""
    wanted = decisive(args.engine)
    body = (
        "import json, importlib.metadata as m; there = {d.metadata['Name']: d.version for d in m.distributions()}; "
        f"print(json.dumps({{name: there.get(name, 'missing') for name in {list(wanted)!r}}}))"
    )
    ok, found = _python_says(body)
    if not ok:
        return False, found
    versions = json.loads(found)
    wrong = [
        f"{name} {versions[name]}, and not {version}" for name, version in wanted.items() if versions[name] != version
    ]
    if wrong or args.device == "cpu":
        return not wrong, "; ".join(wrong) or ", ".join(f"{name} {version}" for name, version in versions.items())
    return _imports(args, "deps")


def _config(args: InspectArgs) -> tuple[bool, str]:
    """Every key that we write stands in the guide's file of the checked-out ERNIE, or is one of the resume's."""
    from sft.engines import ENGINES
    from sft.engines.base import Folders
    from sft.jobs.examples import SPEC

    place = Path("/x")
    folders = Folders(place, place, place, place, place)
    try:
        known = set(yaml.safe_load((ERNIE / GUIDE).read_text()))
    except OSError as error:
        return False, str(error)
    unknown = set(ENGINES["erniekit"].command(SPEC, folders, None).config) - known
    return not unknown, f"unknown keys: {', '.join(sorted(unknown))}" if unknown else f"{GUIDE}: all keys known"


def _disk(args: InspectArgs) -> tuple[bool, str]:
    free = shutil.disk_usage(".").free / 1e9
    return free > 2, f"{free:.0f} GB free"


CHECKS = (
    Check("python", _python, f"the image must have Python {PYTHON}: {REDEPLOY}", engines=ALL, quick=True),
    Check(
        "cuda",
        _cuda,
        "choose a GPU that Modal has (modal.gpu), or look at its status page",
        engines=ALL,
        devices=("gpu",),
        quick=True,
    ),
    Check(
        "torch",
        _torch,
        f"its environment is not whole: {REDEPLOY}; on one machine make torch",
        engines=("transformers",),
        quick=True,
    ),
    Check(
        "paddle",
        _paddle,
        f"the engine's wheel is not installed: {REDEPLOY}; on one machine make .venv/ready",
        quick=True,
    ),
    Check("paddle-gpu", _paddle_gpu, "the wheel and the driver do not fit: choose another modal.gpu", devices=("gpu",)),
    Check("ernie", _ernie, f"ERNIE is not checked out at {ERNIE_COMMIT[:12]}: {REDEPLOY}", engines=("erniekit",)),
    Check("ernie-import", _ernie_import, f"ERNIE's packages are incomplete: {REDEPLOY}", engines=("erniekit",)),
    Check("ernie-cmd", _ernie_command, f"the command erniekit is missing: {REDEPLOY}", engines=("erniekit",)),
    Check("trainer", _trainer, f"paddleformers does not import: {REDEPLOY}", engines=("paddleformers",)),
    Check(
        "pages",
        _pages,
        f"PaddleOCR's document parser does not import: {REDEPLOY}",
        engines=("paddleformers",),
        devices=("gpu",),
    ),
    Check("deps", _packages, f"pinned packages have other versions: {REDEPLOY}; on one machine make .venv/ready"),
    Check(
        "config",
        _config,
        "the trainer's config keys have changed: update sft/engines/erniekit.py",
        engines=("erniekit",),
    ),
    Check("disk", _disk, "free at least 2 GB", engines=ALL, devices=("cpu",)),
)


def fitting(engine: str, device: str, *, quick: bool = False) -> list[Check]:
    """The checks that fit an engine and a device."""
    fits = [check for check in CHECKS if engine in check.engines and device in check.devices]
    return [check for check in fits if check.quick or not quick]


def check_names(engine: str, device: str, names: Sequence[str], beside: Sequence[str] = ()) -> None:
    """Raises InputError if a named check does not exist (``beside`` do), or does not fit the engine and device."""
    known = [*beside, *(check.name for check in fitting(engine, device))]
    if unknown := [name for name in names if name not in known]:
        raise InputError("no such check", value=", ".join(unknown), remedy=f"use {', '.join(known)}")


def inspect_environment(args: InspectArgs, context: Context) -> dict[str, Any]:
    """Run the checks.

    Returns: ``{"findings": [{"name", "ok", "found", "remedy"}], "code": hash of the code that ran}``.
    Raises:
        InputError: a named check does not exist, or does not fit the engine and device.
    """
    check_names(args.engine, args.device, args.checks)
    findings = []
    for check in fitting(args.engine, args.device):
        if not args.checks or check.name in args.checks:
            ok, found = check.body(args)
            finding = Finding(check.name, ok, found, "" if ok else check.remedy)
            context.event("check", **asdict(finding))
            findings.append(asdict(finding))
    return {"findings": findings, "code": code_hash()}


INSPECT_ENVIRONMENT = Job("inspect_environment", InspectArgs, inspect_environment)

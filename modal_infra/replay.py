"""``make images``: the environments of the images, built here from the same steps and proved.

A virtual environment below .images/ stands for the image, the CPU wheel of the same version for the GPU wheel of
paddlepaddle. The image of the engine transformers is built when it is named: its torch is the one for CUDA that the
image has (it computes on a CPU, too), a download of 3 GB. What that leaves unseen stands in docs/verified.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from modal_infra.recipes import BESIDE_LOCKS, RECIPES, beside
from sft.engines.transformers import Transformers
from sft.environments import COMPLAINTS, FOLDER
from sft.models.second_reader import PACKAGES, VARIABLE
from sft.training.wheels import WHEELS

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / ".images"
BY_NAME = Transformers.name  # built only where it is named
LINES = 20  # of a failed command's output are shown


class Broken(Exception):
    """An environment that does not do what it is for."""


def main() -> int:
    """Build and prove the environments that are named, or all; exit code 1 where one is broken."""
    parser = argparse.ArgumentParser(prog="make images", description=__doc__)
    parser.add_argument("--python", required=True, help="an interpreter of the images' version")
    known = (*RECIPES, BY_NAME)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)}; default: all but {BY_NAME}")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(known):
        parser.error(f"no environment {', '.join(sorted(unknown))}: use {', '.join(known)}")
    broken = 0
    for name in arguments.names or RECIPES:
        started = time.monotonic()
        try:
            replay(name, arguments.python)
        except Broken as error:
            broken += 1
            print(f"{name}: BROKEN: {error}")
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return 1 if broken else 0


def replay(name: str, python: str) -> None:
    """Build one environment anew, step by step, and prove it.

    Raises:
        Broken: a step fails, pip check says something new, or what the environment is for does not work.
    """
    folder, below = IMAGES / name, "light" if name == BY_NAME else name
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / f"{name}.log").unlink(missing_ok=True)
    _run(name, ["uv", "venv", "--quiet", "--clear", "--seed", "--python", python, str(folder)])
    paddle = f"paddlepaddle=={WHEELS[name].version}" if name in WHEELS else ""
    own = str(folder / "bin" / "python")
    for step in RECIPES[below]:
        for command in step.filled(python=own, lock=str(FOLDER / f"{below}.txt"), paddle=paddle):
            if step.image_only:
                print(f"{name}: left out ({step.image_only}): {command}")
            else:
                _run(name, ["sh", "-c", command])
    check(own, COMPLAINTS.get(name, ()))
    print(f"{name}: pip check says what is known", flush=True)
    more = {VARIABLE: _beside(name, own, folder / "second-reader")} if name == BY_NAME else {}
    _run(name, [own, "-m", "modal_infra.proofs", name], more)


def _beside(name: str, python: str, place: Path) -> str:
    """The environment of torch and transformers, and its interpreter."""
    place.mkdir()
    for lock in BESIDE_LOCKS:
        shutil.copy(PACKAGES / lock, place)
    for command in beside(python, str(place)):
        _run(name, ["sh", "-c", command])
    own = str(place / "venv" / "bin" / "python")
    check(own, ())
    return own


def check(python: str, known: Sequence[str]) -> None:
    """``pip check`` of an environment.

    Raises:
        Broken: it complains of more or less than ``known``.
    """
    # -I: what lies in this folder (the metadata of an editable installation) is not the environment's
    process = subprocess.run([python, "-I", "-m", "pip", "check"], capture_output=True, text=True)
    said = set(process.stdout.splitlines()) - {"No broken requirements found."}
    if process.stderr.strip() or said != set(known):
        listed = "\n".join(sorted(said ^ set(known))) or process.stderr
        raise Broken(f"pip check and the list of what it is known to say (sft/environments) differ:\n{listed}")


def _run(name: str, command: Sequence[str], more: Mapping[str, str] | None = None) -> None:
    """Run a command; what it says goes to .images/NAME.log."""
    print(f"{name}: {shlex.join(command)}", flush=True)
    log = IMAGES / f"{name}.log"
    with log.open("a") as file:
        code = subprocess.run(
            command, cwd=ROOT, env=_variables() | dict(more or {}), stdout=file, stderr=file
        ).returncode
    if code:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-LINES:])
        raise Broken(f"exit code {code}; the last lines of {log.relative_to(ROOT)}:\n{last}")


def _variables() -> dict[str, str]:
    """This process's: our code is found, uv as well, and no package of another environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # not compiling all of it: only some of it is ever imported here
    kept = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "UV_COMPILE_BYTECODE")}
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


if __name__ == "__main__":
    sys.exit(main())

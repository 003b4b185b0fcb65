"""Looks at a training's rows (sft/training/kept.py) that one test has paid for, for all tests of one run of pytest.

Most trainings of the tests are of the same digits with the same settings: the first look is a real one, the others
find it on their volume, as a user's second training does. Whoever tests the looks themselves does not use this.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sft.training.kept import PLACE

# pytest-xdist starts the processes of a run as children of the first one; without it there is one process.
FIRST = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
SHARED = Path(tempfile.gettempdir()) / f"sft-looks-{FIRST}"


@contextmanager
def lent(outputs: Path) -> Iterator[None]:
    """On that outputs volume is what was looked at before; what the block adds is there for the next."""
    folder = outputs / PLACE
    _copy(SHARED, folder)
    try:
        yield
    finally:
        _copy(folder, SHARED)


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.json"):
        if not (target / path.name).exists():
            temporary = target / f".{path.name}.{os.getpid()}"
            shutil.copyfile(path, temporary)
            temporary.replace(target / path.name)

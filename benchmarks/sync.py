"""How fast does a checkpoint come to this machine, hashed, against cp and sha256sum in one pipe on the same disk?"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, once, turns
from benchmarks.sizes import size
from compute.local import LocalCompute
from runs.mirroring import mirror
from sft.store import records

MEGABYTES = size(4096, 512)
FILES = 4


def figures() -> Iterator[Figure]:
    """The first sync against a pipe, then one of unchanged files."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("SFT_BENCH_FOLDER")) as name:
        folder = Path(name)
        compute = LocalCompute(folder / "state")
        source = compute.volumes.outputs / "runs" / "x" / "model"
        source.mkdir(parents=True)
        block = os.urandom(1 << 20)
        for number in range(FILES):
            with (source / f"weights-{number}").open("wb") as file:
                for _ in range(MEGABYTES // FILES):
                    file.write(block)
        files = records.manifest(source)

        def ours() -> None:
            shutil.rmtree(folder / "model", ignore_errors=True)
            mirror(compute, "runs/x/model", files, folder / "model")

        def piped() -> None:
            shutil.rmtree(folder / "piped", ignore_errors=True)
            _pipe(source, folder / "piped")

        taken = turns(ours, piped, repeats=2)
        again = once(lambda: mirror(compute, "runs/x/model", files, folder / "model"))
    rate, reference = taken.rate(MEGABYTES)
    question, unit, met = f"sync of {MEGABYTES} MB", "MB/s (tee | sha256sum)", rate >= 0.8 * reference
    yield Figure(question, rate, reference, unit, "≥ 0.8", met, taken.spread())
    yield Figure("second sync", again, taken.ours.median, "s (the first)", "≤ 1 s", again <= 1)


def _pipe(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.iterdir()):
        command = f"tee '{target / path.name}' < '{path}' | sha256sum"
        subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL)

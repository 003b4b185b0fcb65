"""How fast is a wheel fetched, against curl on the same loopback?"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, turns
from benchmarks.sizes import size
from sft.download import download

MEGABYTES = size(1024, 256)


def figures() -> Iterator[Figure]:
    """The whole file, hashed; curl and sha256sum beside it. Nothing where there is no curl."""
    if shutil.which("curl") is None:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "wheel").open("wb") as file:
            for _ in range(MEGABYTES):
                file.write(os.urandom(1 << 20))
        server = subprocess.Popen(
            ["python3", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            assert server.stdout is not None
            port = server.stdout.readline().decode().split(" port ")[1].split()[0]
            url = f"http://127.0.0.1:{port}/wheel"

            def ours() -> None:
                (folder / "ours").unlink(missing_ok=True)
                download(url, folder / "ours", max_bytes=1 << 40)

            def curl() -> None:
                command = f"curl -sf '{url}' -o '{folder / 'curled'}' && sha256sum '{folder / 'curled'}'"
                subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL)

            taken = turns(ours, curl)
        finally:
            server.kill()
            server.wait()
    rate, reference = taken.rate(MEGABYTES)
    met = rate >= 0.9 * reference
    question, unit = f"download of {MEGABYTES} MB", "MB/s (curl, sha256sum)"
    yield Figure(question, rate, reference, unit, "≥ 0.9", met, taken.spread())

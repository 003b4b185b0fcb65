"""Scanning on several cores, from a process of any kind.

A process without threads forks its workers, which starts them at once. One with threads (a Prefect flow) must not fork,
and ``multiprocessing``'s spawn imports the main module again, which runs a script that has no guard: there, workers
are interpreters of our own that take ranges on their standard input.
"""

from __future__ import annotations

import multiprocessing
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sft.dataset.scan import Options, Part, scan
from sft.errors import SftError

Piece = tuple[int, int]  # byte range
PROJECT = Path(__file__).resolve().parents[2]


def scan_all(path: Path, pieces: Sequence[Piece], options: Options, workers: int) -> Iterator[Part]:
    """What each range came to, in order.

    Raises:
        DatasetError: as :func:`sft.dataset.scan.scan`.
        SftError: a worker was killed.
    """
    if workers == 1:
        yield from (scan(path, *piece, options) for piece in pieces)
    elif threading.active_count() == 1:
        starts, ends = zip(*pieces)
        count = len(pieces)
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
            yield from pool.map(scan, [path] * count, starts, ends, [options] * count)
    else:
        with _Interpreters(workers) as interpreters, ThreadPoolExecutor(workers) as threads:
            yield from threads.map(lambda piece: interpreters.scan(path, piece, options), pieces)


class _Interpreters:
    """Worker processes that are lent to one caller after the other."""

    def __init__(self, count: int) -> None:
        # Ours to ours: nothing from outside is unpickled.
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PROJECT)!r}); {_BODY}"]
        pipe = subprocess.PIPE
        self._all = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(count)]
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for process in self._all:
            self._free.put(process)

    def __enter__(self) -> _Interpreters:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._all:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def scan(self, path: Path, piece: Piece, options: Options) -> Part:
        process = self._free.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((path, *piece, options), process.stdin)
            process.stdin.flush()
            answer: Any = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            remedy = "run again; with less memory, set dataset.workers=1"
            raise SftError("a process that validates was killed", where=str(path), remedy=remedy) from error
        finally:
            self._free.put(process)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Part)
        return answer


_BODY = "from sft.dataset.workers import serve; serve()"


def serve() -> None:
    """The body of a worker: answer each range on standard input until that ends."""
    out = sys.stdout.buffer
    while True:
        try:
            arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: Any = scan(*arguments)
        except Exception as error:
            answer = error
        pickle.dump(answer, out)
        out.flush()

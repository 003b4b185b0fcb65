"""Scanning on several cores, from a process of any kind.

A process without threads forks its workers, which starts them at once. One with threads (a Prefect flow) must not fork,
and ``multiprocessing``'s spawn imports the main module again, which runs a script that has no guard: there, workers
are interpreters of our own that take ranges through a pipe.
"""

from __future__ import annotations

import multiprocessing
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

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
        self._processes: list[subprocess.Popen[bytes]] = []
        self._free: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._all = [self._start() for _ in range(count)]
        for connection in self._all:
            self._free.put(connection)

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        body = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); {_BODY}"
        command = [sys.executable, "-c", body, str(theirs.fileno())]
        self._processes.append(subprocess.Popen(command, pass_fds=[theirs.fileno()]))
        theirs.close()
        return ours

    def __enter__(self) -> _Interpreters:
        return self

    def __exit__(self, *error: object) -> None:
        for process, connection in zip(self._processes, self._all):
            connection.close()
            process.kill()
            process.wait()

    def scan(self, path: Path, piece: Piece, options: Options) -> Part:
        connection = self._free.get()
        try:
            connection.send((path, *piece, options))
            answer = connection.recv()
        except (OSError, EOFError) as error:
            remedy = "run again; with less memory, set dataset.workers=1"
            raise SftError("a process that validates was killed", where=str(path), remedy=remedy) from error
        finally:
            self._free.put(connection)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Part)
        return answer


_BODY = "from sft.dataset.workers import serve; serve(int(sys.argv[1]))"


def serve(descriptor: int) -> None:
    """The body of a worker: answer each range that comes through the pipe until that is closed."""
    connection = Connection(descriptor)
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        try:
            answer: Part | Exception = scan(*arguments)
        except Exception as error:
            answer = error
        connection.send(answer)

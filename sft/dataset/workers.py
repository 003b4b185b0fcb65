"""Scanning on several cores, from a process of any kind.

A process without threads forks its workers, which starts them at once. One with threads (a Prefect flow) must not fork,
and ``multiprocessing``'s spawn imports the main module again, which runs a script that has no guard: there, workers
are interpreters of our own that take ranges through a pipe.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from sft.dataset.parts import Options, Part
from sft.dataset.ranges import Reader
from sft.errors import SftError

Piece = tuple[int, int]  # byte range
# Seconds of work for which one worker more is started: several times what that takes (measured on two busy cores:
# 0.05 s a fork, 0.3 s an interpreter), so that work on two cores is never slower than on one.
FORKED, STARTED = 0.25, 1.0
PROJECT = Path(__file__).resolve().parents[2]


def scan_all(path: Path, pieces: Sequence[Piece], options: Options, workers: int) -> Iterator[Part]:
    """What each range came to, in order.

    Args:
        workers: processes; 0: as many as the work is worth, which is seen at the first ranges, up to one a core.
    Raises:
        DatasetError: the compressed file is damaged.
        SftError: a worker was killed.
    """
    if workers:
        yield from _scan_by(path, pieces, options, min(workers, len(pieces)))
        return
    reader, fastest = Reader(path, options), math.inf  # the first one warms up
    for done, piece in enumerate(pieces):
        rest = len(pieces) - done
        if done and (wanted := min(rest, _worth(fastest * rest))) > 1:
            yield from _scan_by(path, pieces[done:], options, wanted)
            return
        began = time.perf_counter()
        part = reader.scan(piece)
        fastest = min(fastest, time.perf_counter() - began)
        yield part


def _worth(seconds: float) -> int:
    """How many workers so much work of one core is worth: each costs its start."""
    cost = FORKED if threading.active_count() == 1 else STARTED
    return min(len(os.sched_getaffinity(0)), int(seconds / cost))


def _scan_by(path: Path, pieces: Sequence[Piece], options: Options, workers: int) -> Iterator[Part]:
    if workers == 1:
        yield from map(Reader(path, options).scan, pieces)
    elif threading.active_count() == 1:
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(workers, fork, initializer=_read, initargs=(path, options)) as pool:
            try:
                yield from pool.map(_scan, pieces)
            except BrokenProcessPool as error:
                raise _killed(path) from error
    else:
        with _Interpreters(workers, path, options) as interpreters, ThreadPoolExecutor(workers) as threads:
            yield from threads.map(interpreters.scan, pieces)


def _killed(path: Path) -> SftError:
    remedy = "run again; with less memory, set dataset.workers=1"
    return SftError("a process that validates was killed", where=str(path), remedy=remedy)


_READERS: list[Reader] = []  # of a forked worker: the one that it has


def _read(path: Path, options: Options) -> None:
    _READERS.append(Reader(path, options))


def _scan(piece: Piece) -> Part:
    return _READERS[-1].scan(piece)


class _Interpreters:
    """Worker processes that are lent to one caller after the other."""

    def __init__(self, count: int, path: Path, options: Options) -> None:
        self._path = path
        self._processes: list[subprocess.Popen[bytes]] = []
        self._free: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._all = [self._start() for _ in range(count)]
        for connection in self._all:
            with suppress(OSError):  # it is told at the first range that the worker is gone
                connection.send((path, options))
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

    def scan(self, piece: Piece) -> Part:
        connection = self._free.get()
        try:
            connection.send(piece)
            answer = connection.recv()
        except (OSError, EOFError) as error:
            raise _killed(self._path) from error
        finally:
            self._free.put(connection)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Part)
        return answer


_BODY = "from sft.dataset.workers import serve; serve(int(sys.argv[1]))"


def serve(descriptor: int) -> None:
    """The body of a worker: answer each range that comes through the pipe, after the file, until that is closed."""
    connection = Connection(descriptor)
    reader: Reader | None = None
    while True:
        try:
            told = connection.recv()
        except EOFError:
            return
        try:
            if reader is None:
                reader = Reader(*told)
                continue
            answer: Part | Exception = reader.scan(told)
        except Exception as error:
            answer = error
        connection.send(answer)

"""One training by several processes, one a card: ``python -m sft.torch_trainer.ranks CONFIG``, ``devices`` of them.

What torchrun does on one machine, by the same variables (torch.distributed.run, "Environment Variables") and the same
store. It is not used because it gives the others 30 s when one has died, in which they hang in a collective, and ends a
stop as an error. Here the first that fails takes all others with it at once, and this process ends as it did; SIGTERM
goes on to all, which agree on the step after which they stop (:mod:`sft.torch_trainer.training`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from sft.processes import die_with_parent
from sft.torch_trainer.__main__ import not_installed

HERE = "127.0.0.1"


def main(path: Path) -> int:
    """Train as the config file says; the exit code is that of the first process that fails, negative for a signal."""
    try:
        import yaml
        from torch.distributed import TCPStore
    except ImportError as error:
        return not_installed(error)
    settings: dict[str, Any] = yaml.safe_load(path.read_text())
    # The processes meet at a store that is here before they are: its port is the kernel's choice, and nobody else's.
    store = TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    return _Ranks(path, settings["devices"], store.port).follow()


class _Ranks:
    def __init__(self, path: Path, count: int, port: int) -> None:
        self._asked = False
        self._left: dict[int, int] = {}  # process → its rank
        signal.signal(signal.SIGTERM, self._stop)
        for rank in range(count):
            command = [sys.executable, "-P", "-m", "sft.torch_trainer", str(path)]
            environment = {**os.environ, **variables(rank, count, port)}
            self._left[subprocess.Popen(command, env=environment, preexec_fn=die_with_parent).pid] = rank
        if self._asked:  # while they were started
            self._tell(signal.SIGTERM)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> None:
        for pid in self._left:
            with suppress(ProcessLookupError):  # it has just been waited for
                os.kill(pid, number)

    def follow(self) -> int:
        """Until all have ended."""
        while self._left:
            pid, status = os.wait()
            code, rank = os.waitstatus_to_exitcode(status), self._left.pop(pid, None)
            if code != 0 and rank is not None:
                how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
                print(f"process {rank} of the training ended {how}; the others are ended, too", flush=True)
                self._tell(signal.SIGKILL)
                while self._left:
                    self._left.pop(os.wait()[0], None)
                return code
        return 0


def variables(rank: int, count: int, port: int) -> dict[str, str]:
    """By which torch and accelerate know which of the processes this is, and where the store is."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": HERE,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is the launcher's: no process opens one
        "TORCHELASTIC_RESTART_COUNT": "0",
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"),
    }


def end_as(code: int) -> None:
    """End this process as another one ended: with its exit code (a number from 0), or by its signal (below 0)."""
    if code < 0:
        sys.stdout.flush()
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    end_as(main(Path(sys.argv[1])))

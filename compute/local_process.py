"""The detached process of a local job: ``python -m compute.local_process CALL_FOLDER``."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from sft import jobs
from sft.context import Context
from sft.errors import JobCancelled, SftError, to_wire
from sft.foreign import as_ours
from sft.processes import repeating
from sft.store import records
from sft.store.volumes import Volumes

BEAT = 1.0  # seconds


def run(folder: Path) -> dict[str, Any]:
    """Run the request of a call folder; the outcome is plain data: ``{"ok", "value"}`` or ``{"ok", "error"}``."""
    request = records.read_json(folder / "request.json")
    volumes = Volumes(**{name: Path(path) for name, path in request["volumes"].items()})
    lock = int(os.environ["SFT_LOCK"])
    context = Context(volumes, folder.name, child_files=[lock])
    try:
        return {"ok": True, "value": jobs.find(request["job"]).run(request["args"], context)}
    except SftError as error:
        return {"ok": False, "error": to_wire(error)}
    except Exception as error:
        traceback.print_exc()
        return {"ok": False, "error": to_wire(as_ours(error) or error)}


def _cancel(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise JobCancelled("the job was cancelled", value=signal.Signals(number).name)


def main() -> None:
    """Run the job and write its result last."""
    folder = Path(sys.argv[1])
    records.write_text(folder / "pid", str(os.getpid()))  # whoever started it may be dead already
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _cancel)
    heart = folder / "heartbeat"
    heart.touch()
    try:
        with repeating(BEAT, heart.touch):
            outcome = run(folder)
    except JobCancelled as error:
        outcome = {"ok": False, "error": to_wire(error)}
    records.write_json(folder / "result.json", outcome)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # nothing is left to do, and Paddle takes half a second to say goodbye


if __name__ == "__main__":
    main()

"""The console script ``sft``: Ctrl-C while the command is still being imported ends it without a traceback."""

from __future__ import annotations

import sys
from typing import Any

INTERRUPTED = 130  # exit code: 128 + SIGINT


def main() -> Any:
    """Run the command line."""
    try:
        from cli.run import main as command

        return command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)

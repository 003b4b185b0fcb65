"""``sft`` as a program that says at its end which of the slow packages it has imported: run with ``python -P``."""

from __future__ import annotations

import atexit
import sys

SLOW = ("prefect", "modal", "torch", "paddle", "transformers", "sklearn", "huggingface_hub", "mlflow", "wandb")
SAID = "@imported:"


def tell() -> None:
    """One line on standard error."""
    print(SAID, *(name for name in SLOW if name in sys.modules), file=sys.stderr)


if __name__ == "__main__":
    atexit.register(tell)
    sys.argv[0] = "sft"
    from cli.main import main

    main()

"""What is wrong with a run before anything is started: said within two seconds, so Prefect is not imported here."""

from __future__ import annotations

from sft.config import RunConfig
from sft.dataset.reading import detect_file
from sft.plan import DatasetFiles


def check_first(config: RunConfig) -> None:
    """Look at what a run needs that can be seen from here.

    Raises:
        DatasetError: a dataset file is missing, empty or of no known format.
        ComputeError, TransientError: there is no token, or no way to Modal.
    """
    if config.dataset.digits is None and not config.dataset.volume:
        files = DatasetFiles.named(config.dataset)
        for path in (files.train, files.held_out):
            detect_file(path)
    if config.compute == "modal":
        from compute.modal import ready

        ready()

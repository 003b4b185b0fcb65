"""The registry of jobs: name → job. A Modal function and the local adapter run the same body."""

from __future__ import annotations

from typing import Any

from sft.context import Context
from sft.jobs.base import Job


def find(name: str) -> Job[Any]:
    """The job of that name; its module is imported only now.

    Raises:
        KeyError: there is no such job.
    """
    from sft.jobs.bring_dataset import BRING_DATASET
    from sft.jobs.check_export import CHECK_EXPORT
    from sft.jobs.choose import CHOOSE
    from sft.jobs.choose_reader import CHOOSE_READER
    from sft.jobs.compare import COMPARE
    from sft.jobs.doubt import DOUBT
    from sft.jobs.download_model import DOWNLOAD_MODEL
    from sft.jobs.download_wheel import DOWNLOAD_WHEEL
    from sft.jobs.evaluate import EVALUATE
    from sft.jobs.fetch_sample import FETCH_SAMPLE
    from sft.jobs.infer import INFER
    from sft.jobs.inspect_environment import INSPECT_ENVIRONMENT
    from sft.jobs.maintenance import CLEANUP, HASH_FILES
    from sft.jobs.parse_pages import PARSE_PAGES
    from sft.jobs.predict import PREDICT
    from sft.jobs.promote import PROMOTE
    from sft.jobs.read_dev import READ_DEV
    from sft.jobs.scan_rows import MERGE_SCANS, SCAN_ROWS
    from sft.jobs.split_rows import SPLIT_ROWS
    from sft.jobs.train import TRAIN

    known: list[Job[Any]] = [
        DOWNLOAD_WHEEL,
        DOWNLOAD_MODEL,
        FETCH_SAMPLE,
        HASH_FILES,
        CLEANUP,
        BRING_DATASET,
        SPLIT_ROWS,
        SCAN_ROWS,
        MERGE_SCANS,
        PROMOTE,
        TRAIN,
        READ_DEV,
        CHOOSE,
        CHOOSE_READER,
        PREDICT,
        EVALUATE,
        COMPARE,
        DOUBT,
        CHECK_EXPORT,
        INFER,
        PARSE_PAGES,
        INSPECT_ENVIRONMENT,
    ]
    return {job.name: job for job in known}[name]


__all__ = ["Context", "Job", "find"]

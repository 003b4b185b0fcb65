"""The names that caller and deployment share."""

from __future__ import annotations

APP = "paddleocr-vl-sft"  # functions on GPUs
SETUP = (
    "paddleocr-vl-sft-setup"  # functions without: deployed first, because they fetch the wheel for the images of APP
)

SETUP_JOBS = frozenset({"download_wheel", "download_model", "fetch_sample", "hash_files", "prune"})
ENGINE_JOBS = frozenset({"train", "inspect_environment"})  # one function for each engine


def function_name(job: str, engine: str) -> str:
    """The deployed function of a job: ``train_erniekit``, ``evaluate``, …"""
    return f"{job}_{engine}" if job in ENGINE_JOBS else job

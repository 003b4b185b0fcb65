"""The names that caller and deployment share."""

from __future__ import annotations

APP = "paddleocr-vl-sft"  # functions on GPUs
SETUP = (
    "paddleocr-vl-sft-setup"  # functions without: deployed first, because they fetch the wheel for the images of APP
)

VLLM = (
    "paddleocr-vl-sft-vllm"  # what reads with vLLM, deployed by itself and only if asked for: nobody has seen it build
)

NIGHT = "paddleocr-vl-sft-night"  # what hosts the flow itself (night.py), deployed by itself and only if asked for
HOST = "host"  # its function, and the job of that name; also what its container is billed as
# While a training runs the flow and its Prefect wait (docs/nights.md). What is asked for is billed also where it is
# not used, and more is had where the machine has it (guide/resources).
HOST_CPU, HOST_MEMORY_MB = 0.25, 1024
# Modal's price page as others quote it (finops.apis.io and beam.cloud, June and July 2026): not read on the page itself
CORE_SECOND, GIB_SECOND, PRICED = 0.0000131, 0.00000222, "2026-07"  # USD
HOURLY = 3600 * (HOST_CPU * CORE_SECOND + HOST_MEMORY_MB / 1024 * GIB_SECOND)  # USD

LEASES = "paddleocr-vl-leases"  # the Dict in which containers agree on who trains what (sft/store/agreement.py)

SECRET = "huggingface"  # optional, with HF_TOKEN: for gated or private base models
# Optional, with PREFECT_API_URL and PREFECT_API_KEY: the Prefect that hosted runs report to
PREFECT_SECRET = "prefect"

BUCKET_SECRET = "bucket"  # optional, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: for datasets in buckets

SETUP_JOBS = frozenset(
    {
        *(
            "download_wheel",
            "download_model",
            "fetch_sample",
            "bring_dataset",
            "split_rows",
            "scan_rows",
            "merge_scans",
        ),
        *("hash_files", "cleanup", "choose", "promote"),
    }
)
ENGINE_JOBS = frozenset({"train", "inspect_environment"})  # one function for each engine


# A list of cards, the best first, can only be deployed, not chosen for a call: functions of their own have it.
FALLBACK = ("A100-80GB", "H100")


def app_name(job: str, backend: str = "") -> str:
    """The app whose function runs a job; ``backend`` is what reads."""
    if job == "predict" and backend == "vllm":
        return VLLM
    if job == HOST:
        return NIGHT
    return SETUP if job in SETUP_JOBS else APP


def function_name(job: str, engine: str, gpu: str = "", backend: str = "") -> str:
    """The deployed function of a job: ``train_erniekit``, ``train_erniekit_fallback``, ``evaluate``, …

    Args:
        gpu: ``modal.gpu``; the fallback list chooses the function that has it.
        backend: what reads; vLLM has an environment of its own.
    """
    if job == "predict" and backend == "vllm":
        return "predict_vllm"
    name = f"{job}_{engine}" if job in ENGINE_JOBS else job
    return f"{name}_fallback" if job == "train" and gpu == ",".join(FALLBACK) else name

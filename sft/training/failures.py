"""What a trainer's last words mean, and what to change: a table of words that the trainers really say.

Sources are given with each entry; the words are recorded in tests/fixtures/failures/.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable

from sft.engines.base import TrainSpec
from sft.errors import JobDied, TrainingFailed

TAIL = 15  # lines of the trainer's output that an error shows
SEARCHED = 60  # lines that are searched for what they mean: a launcher adds its own at the end
LEARNING_RATE = "lower train.learning_rate or raise train.warmup_steps, then run again"
GPU = "it ran out of memory: {smaller}"
HOST = "give the machine more memory (modal.memory_mb), or lower train.batch_size: {smaller}"
SIGKILLED = (
    "the system killed it, most often because the machine's memory ran out (dmesg says so): with more memory "
    "(modal.memory_mb); if memory ran out, {smaller}"
)

CRASHED = "the trainer crashed"
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)

# (words, what they mean, the advice); the first that is found counts. {smaller} is the next smaller settings.
_MEANINGS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(words, re.IGNORECASE), meaning, advice)
    for words, meaning, advice in (
        # paddle/framework/recall_error.py, raised by PaddleFormers' and ERNIEKit's trainers for each step's loss.
        (
            r"PaddleRecall error\(10[24]\)|Loss contains inf or nan values",
            "the loss is no longer a number",
            LEARNING_RATE,
        ),
        # paddle/phi/core/memory/allocation/cuda_allocator.cc and cuda_virtual_mem_allocator.cc
        (r"Out of memory error on GPU", "the GPU's memory ran out", GPU),
        (
            r"CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED|CUDA error\(2\)",
            "the GPU's memory ran out",
            GPU,
        ),
        # paddle/phi/core/memory/allocation/cpu_allocator.cc; numpy; Python; libstdc++
        (
            r"Fail to alloc memory|Unable to allocate|std::bad_alloc|\bMemoryError\b|cannot allocate memory",
            "the machine's memory ran out",
            HOST,
        ),
        # paddle/base/core: the handler of SIGBUS in imperative/data_loader.cc
        (
            r"insufficient shared memory|shared memory limit|DataLoader process .*(?:Bus error|killed by signal)",
            "the machine's shared memory ran out",
            "give the container a larger /dev/shm, or lower train.batch_size: {smaller}",
        ),
        (r"ResourceExhausted", "memory ran out", GPU),
        (
            r"no space left on device",
            "the disk is full",
            "free room on the outputs volume, or lower train.save_total_limit",
        ),
        (r"ModuleNotFoundError", "a module is missing", "the environment of the engine is incomplete: make it anew"),
    )
)


def explain(text: str, code: int, smaller: str) -> tuple[str, str]:
    """(what the trainer's end means, or an empty text; what to do next).

    Args:
        text: its last words.
        code: its exit code; negative for a signal.
        smaller: the next smaller settings.
    """
    for words, meaning, advice in _MEANINGS:
        if words.search(text):
            return meaning, advice.format(smaller=smaller)
    if crashed(code):
        return CRASHED, "run again to resume; if it crashes at the same step again, see the last lines above"
    # A shell, and a launcher that watches its workers, end with 128 + the signal.
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "the trainer was killed", SIGKILLED.format(smaller=smaller)
    return "", "see the last lines above"


def crashed(code: int) -> bool:
    """Did its process end by a fault of native code? Another try may go well: seen is a race of getenv and setenv."""
    return (-code if code < 0 else code - 128) in _CRASHES


def failure(tail: Iterable[str], code: int, where: str, smaller: str) -> TrainingFailed | JobDied:
    """What became of a trainer: a crash of native code without a known reason is a death, after which a run resumes.

    Args:
        tail: its last lines.
        code: its exit code; negative for a signal.
        where: how far it came.
        smaller: the next smaller settings.
    """
    told = [line for line in tail if "DEBUG" not in line and line.strip()]
    found = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    meaning, remedy = explain("\n".join(told[-SEARCHED:]), code, smaller)
    text = "\n".join(told[-TAIL:])
    kind = JobDied if meaning == CRASHED else TrainingFailed
    return kind(
        f"{meaning or 'the trainer ended with an error'}; its last lines:\n{text}\n",
        where=where,
        value=found,
        remedy=remedy,
    )


def smaller(spec: TrainSpec) -> str:
    """The next smaller settings that give the same training, as words that can be pasted."""
    batch, steps = spec.batch_size, spec.gradient_accumulation_steps
    if batch > 1:
        half = batch // 2
        return f"--set train.batch_size={half} --set train.gradient_accumulation_steps={steps * batch // half}"
    return f"--set train.max_seq_len={max(64, spec.max_seq_len // 2)} (sft validate --max-seq-len says which rows fit)"

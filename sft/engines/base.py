"""What an engine is: it turns one typed train config into a command and reads the trainer's progress back."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from sft.dataset.rows import Format
from sft.engines.paths import told
from sft.families import V0_9B
from sft.models.weights import torn

PARTS = ("text", "vision", "projector")  # of the model
# Settings that came later, and change a result only where they are set: trainings of before keep their identity.
_LATER = ("asks", "augment", "lora_alpha", "lora_dropout", "lora_targets", "four_bit", "frozen")


class TrainSpec(BaseModel):
    """One training, resolved: what an engine needs and nothing else. Plain data, so that it travels to the job.

    ``max_steps`` and ``warmup_steps`` are numbers here; rates are per optimiser step; ``max_seq_len`` is in tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str  # "gpu" or "cpu"
    devices: int = 1  # that share each step's forward passes
    max_steps: int
    epochs: float
    warmup_steps: int
    learning_rate: float
    min_learning_rate: float
    lr_scheduler: str
    batch_size: int
    gradient_accumulation_steps: int
    max_seq_len: int
    weight_decay: float
    seed: int
    precision: str
    lora_rank: int | None = None
    lora_alpha: float | None = None  # None: twice the rank
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = ()  # of PARTS; empty: all
    four_bit: bool = False
    frozen: tuple[str, ...] = ()  # of PARTS
    asks: str = V0_9B.asks  # what stands between a prompt and its answer
    augment: str = ""  # none or template; empty: what the engine does by itself
    recompute: str = "auto"  # always, never, or auto: on a GPU
    save_steps: int
    save_total_limit: int
    logging_steps: int
    stall_minutes: float = 60
    dropped_rows: float = 0.005

    def identity(self) -> dict[str, Any]:
        """What changes the result: everything but the devices and how often is logged and saved.

        Each step has the same forward passes on any number of devices (see :attr:`passes_per_device`); an engine that
        deals the rows out in another order then says so itself (:attr:`Engine.deals_alike`).
        """
        beside = {"device", "save_steps", "save_total_limit", "logging_steps", "stall_minutes", "dropped_rows"}
        beside |= {"devices", "recompute", *(name for name in _LATER if self._is_default(name))}
        return {key: value for key, value in self.model_dump().items() if key not in beside}

    @property
    def passes_per_device(self) -> int:
        """Forward passes of a step on each device: all devices together make ``gradient_accumulation_steps``."""
        return self.gradient_accumulation_steps // self.devices

    def _is_default(self, name: str) -> bool:
        return bool(getattr(self, name) == type(self).model_fields[name].default)

    def without_parts(self) -> dict[str, str]:
        """What of this an engine cannot do that trains the whole model in one way; see :meth:`Engine.cannot`."""
        needs = "needs engine transformers"
        asked = {
            "lora.alpha": self.lora_alpha is not None and self.lora_alpha != 2 * (self.lora_rank or 0),
            "lora.dropout": self.lora_dropout > 0,
            "lora.targets": bool(self.lora_targets) and set(self.lora_targets) != set(PARTS),
            "lora.four_bit": self.four_bit,
            "freeze": bool(self.frozen),
            "recompute": self.recompute == ("always" if self.device == "cpu" else "never"),
        }
        return {field: needs for field, is_asked in asked.items() if is_asked}

    def rate_at(self, step: int) -> float:
        """The learning rate that both trainers' schedules give, and log, at optimiser step ``step`` (1 is the first).

        Linear warm-up from 0, then from ``learning_rate`` to ``min_learning_rate`` (``constant`` stays where it is).
        """
        if step < self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        if self.lr_scheduler == "constant":
            return self.learning_rate
        done = min(1.0, (step - self.warmup_steps) / max(1, self.max_steps - self.warmup_steps))
        left = 1 - done if self.lr_scheduler == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.min_learning_rate + (self.learning_rate - self.min_learning_rate) * left


@dataclass(frozen=True)
class Folders:
    """Where a training reads and writes."""

    base_model: Path
    train_file: Path  # in the engine's format
    output: Path  # checkpoint-N folders and, at the end, the model
    logs: Path  # TensorBoard or VisualDL event files
    config: Path  # the file that the engine's command reads

    def told(self, work: Path) -> Folders:
        """The same as a trainer whose working folder is ``work`` is told them (see :func:`sft.engines.paths.told`)."""
        given = (self.base_model, self.train_file, self.output, self.logs, self.config)
        return Folders(*(told(path, work) for path in given))


@dataclass(frozen=True)
class Command:
    """A command line and what it adds to the environment. The config file is written before it runs.

    ``printed`` is what the trainer has to print of itself beside what the file says.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    config: Mapping[str, Any]
    printed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """One progress line: ``loss`` in nats per token, ``rate`` in optimiser steps per second."""

    step: int
    loss: float
    learning_rate: float
    rate: float

    def as_dict(self) -> dict[str, float]:
        """Plain data."""
        return asdict(self)


class Engine(Protocol):
    """A trainer. To add one: write a module with a class like this, and a line in the registry (sft/engines)."""

    name: str
    version: str  # of the trainer's package or commit: part of the run's identity
    dataset_format: Format
    packs: bool  # a forward pass holds rows up to max_seq_len tokens, batch_size at most; else batch_size whole rows
    augments: bool  # does it heed train.augment?
    enlarges: float  # by how much that augmentation may lengthen an image's sides; 1: not at all
    uses_this_gpu: bool  # with compute local it trains on this machine's GPU, where there is one
    deals_alike: bool  # on any number of devices a step has the very same rows
    left_out: re.Pattern[str]  # in its output: a row that it leaves out; the first group that is there says why
    explained: Mapping[str, str]  # keys of its config whose effective value is not printed as written, and why

    def cannot(self, spec: TrainSpec) -> Mapping[str, str]:
        """What of ``spec`` this engine cannot do: field → why. Its numbers of steps stand for any."""
        ...

    def command(self, spec: TrainSpec, folders: Folders, resume_from: Path | None) -> Command:
        """The training's command, its environment and its config file."""
        ...

    def parity(self, spec: TrainSpec, folders: Folders) -> Command | None:
        """What writes, before a training, what it makes of a few rows, and what a reader is asked for them, as JSON
        (see :mod:`sft.training.parity`); None where the trainer offers no way.
        """
        ...

    def export(self, spec: TrainSpec, folders: Folders) -> None:
        """What follows the training until the model is whole (LoRA: merge the adapter); often nothing."""
        ...

    def progress(self, line: str) -> Progress | None:
        """The progress that a line of the trainer's output tells, if any."""
        ...

    def checkpoint_problems(self, folder: Path) -> list[str]:
        """What a checkpoint lacks to be resumed from; an empty list for a whole one. Content is checked by manifest."""
        ...

    def model_folder(self, spec: TrainSpec, folders: Folders) -> Path:
        """Where the final model lies after :meth:`export`."""
        ...


# What both trainers (PaddleFormers' class Trainer, which ERNIEKit derives its own from) print.
_LOGGED = re.compile(r"(?:^|- )loss: [^,\s]+, .*", re.M)
_PAIR = re.compile(r"(?<![\w.])(\w+): ([^\s,\x1b]+)")
THREADS = "OMP_NUM_THREADS"
# PaddleFormers' trainer (0.4.0, which ERNIEKit's derives from, and 1.2.0) sets this variable in each step, beside
# threads that read the environment. A new one makes the C library move the environment's table under them: seen was a
# trainer that crashed in getenv in its first step. One that is there already is replaced in its place.
STEP_VARIABLE = {"TRAINER_GLOBAL_STEP": "0"}
_SPEEDS = ("interval_steps_per_second", "global_steps_per_second")  # PaddleFormers' and ERNIEKit's


def cpu_threads() -> dict[str, str]:
    """How many threads a training on a CPU has: what the variable says, two otherwise. They train the tiny model a
    quarter faster than one; its matrices are too small for more (measured).
    """
    return {THREADS: os.environ.get(THREADS, "2")}


def read_progress(text: str) -> Progress | None:
    """The progress line that a trainer logs; of several in one text the last.

    PaddleFormers: ``loss: 1.23, learning_rate: 0.0019, global_step: 150, … interval_steps_per_second: 6.4, ppl: …``
    ERNIEKit: ``loss: 11.5, loss_cur_dp: 11.5, learning_rate: 9e-04, global_step: 2, … global_steps_per_second: 0.3``
    """
    for match in reversed(list(_LOGGED.finditer(text))):
        values = dict(_PAIR.findall(match[0]))
        speed = next((values[name] for name in _SPEEDS if name in values), "")
        try:
            return Progress(
                int(values["global_step"]), float(values["loss"]), float(values["learning_rate"]), float(speed)
            )
        except (KeyError, ValueError):
            continue
    return None


def missing_files(folder: Path, needed: Sequence[str]) -> list[str]:
    """Patterns in ``needed`` that match no file, and safetensors files that are shorter than their header says."""
    problems = [f"{pattern} is missing" for pattern in needed if not any(folder.glob(pattern))]
    return problems + [text for path in sorted(folder.glob("*.safetensors")) if (text := torn(path))]

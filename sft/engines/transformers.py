"""Engine ``transformers``: Hugging Face Transformers and peft under torch, on any GPU or a CPU, full or LoRA.

The trainer is a program of this project (:mod:`sft.torch_trainer`) around transformers' own Trainer. It runs by the
Python of an environment of its own, which ``make torch`` makes: torch and Paddle do not share a process. Names of its
config file are those of ``transformers.TrainingArguments`` 5.24, where it has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sft.dataset import dropped
from sft.dataset.rows import Format
from sft.devices import visible
from sft.engines.base import (
    PARTS,
    THREADS,
    Command,
    Folders,
    Progress,
    TrainSpec,
    cpu_threads,
    missing_files,
    read_progress,
)
from sft.errors import TrainingFailed
from sft.models.casting import cast
from sft.models.lora import merge
from sft.models.second_reader import PROJECT, interpreter

_NEEDED = ("trainer_state.json", "scheduler.pt", "optimizer.pt", "rng_state*.pth", "*model.safetensors")


class Transformers:
    """See :class:`sft.engines.base.Engine`."""

    name = "transformers"
    version = "5.24.0+1"  # of transformers, and of what the program makes of it: raise it when another model comes out
    dataset_format: Format = "messages"
    packs = True
    augments = False
    enlarges = 1.0
    uses_this_gpu = True
    deals_alike = True
    left_out = dropped.TRANSFORMERS
    explained: Mapping[str, str] = {}

    def cannot(self, spec: TrainSpec) -> dict[str, str]:
        """Little: a CPU does not train in float16, and something must be left to train."""
        found = {}
        if spec.device == "cpu" and spec.precision == "float16":
            found["precision"] = "is for GPUs: a CPU trains in float32, or in bf16"
        if spec.lora_rank is not None and spec.frozen:
            found["freeze"] = "is not for LoRA, which freezes the model: train.lora.targets says where adapters go"
        elif set(spec.frozen) == set(PARTS):
            found["freeze"] = "leaves nothing to train"
        return found

    def command(self, spec: TrainSpec, folders: Folders, resume_from: Path | None) -> Command:
        """``python -m sft.torch_trainer CONFIG`` by the other environment's Python, once for each device.

        Raises:
            TrainingFailed: there is no such environment.
        """
        config = _config(spec, folders)
        if resume_from is not None:
            config["resume_from_checkpoint"] = str(resume_from)
        program = "sft.torch_trainer" if spec.devices == 1 else "sft.torch_trainer.ranks"
        argv = (_python(), "-P", "-m", program, str(folders.config))
        return Command(argv, _environment(spec, spec.devices), config)

    def parity(self, spec: TrainSpec, folders: Folders) -> Command:
        """The rows as the trainer encodes them, in its environment."""
        argv = (_python(), "-P", "-m", "sft.torch_trainer.parity", str(folders.config))
        return Command(argv, _environment(spec, 1), {})

    def export(self, spec: TrainSpec, folders: Folders) -> None:
        """The weights in the base model's types: trained ones are float32 until then. LoRA: the adapter is merged."""
        target = self.model_folder(spec, folders)
        if spec.lora_rank is not None:
            merge(folders.base_model, folders.output, target)
        else:
            cast(folders.output, folders.base_model, target)

    def progress(self, line: str) -> Progress | None:
        """The same line as PaddleFormers': the program writes it so."""
        return read_progress(line)

    def checkpoint_problems(self, folder: Path) -> list[str]:
        """Files that a resume needs, and whether each safetensors file is as long as its header says."""
        return missing_files(folder, _NEEDED)

    def model_folder(self, spec: TrainSpec, folders: Folders) -> Path:
        """The folder of the cast or merged weights."""
        return folders.output / "export"


def _python() -> str:
    python = interpreter()
    if python is None:
        remedy = "run make torch, which makes it; or take the engine paddleformers"
        raise TrainingFailed("the engine transformers has no environment with torch here", remedy=remedy)
    return str(python)


def _environment(spec: TrainSpec, devices: int) -> dict[str, str]:
    environment = {
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",  # a trainer's output is read line by line: two lines a warning are no help
        "HF_HUB_OFFLINE": "1",  # the base model's folder is all that it needs
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "" if spec.device == "cpu" else ",".join(visible(devices)),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # cards are counted as nvidia-smi counts them
    }
    if spec.device == "cpu":
        environment |= cpu_threads() if devices == 1 else {THREADS: "1"}
    return environment


def _config(spec: TrainSpec, folders: Folders) -> dict[str, Any]:
    config: dict[str, Any] = {
        "base_model": str(folders.base_model),
        "train_file": str(folders.train_file),
        "max_seq_len": spec.max_seq_len,  # of a row, and of all rows of a forward pass together
        "batch_size": spec.batch_size,  # rows of a forward pass at most
        "precision": spec.precision,
        "trained_parts": [part for part in PARTS if part not in spec.frozen],
        "lora_rank": spec.lora_rank,
        "four_bit": spec.four_bit,
        "output_dir": str(folders.output),
        "seed": spec.seed,
        "max_steps": spec.max_steps,
        "per_device_train_batch_size": 1,  # passes, which the program plans
        "gradient_accumulation_steps": spec.passes_per_device,
        "devices": spec.devices,
        "learning_rate": spec.learning_rate,
        "warmup_steps": spec.warmup_steps,
        "weight_decay": spec.weight_decay,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch" if spec.device == "cpu" else "adamw_torch_fused",
        "bf16": spec.precision == "bf16",
        "fp16": spec.precision == "float16",
        "activation_checkpointing": spec.recompute == "always" or (spec.recompute == "auto" and spec.device == "gpu"),
        "logging_steps": spec.logging_steps,
        "save_strategy": "steps",
        "save_steps": spec.save_steps,
        "save_total_limit": spec.save_total_limit,
        "use_cpu": spec.device == "cpu",
        "dataloader_num_workers": 0 if spec.device == "cpu" else max(2, 8 // spec.devices),
    }
    if spec.lora_rank is not None:
        config |= {
            "trained_parts": list(spec.lora_targets or PARTS),
            "lora_alpha": spec.lora_alpha or 2 * spec.lora_rank,  # PaddleFormers' rule
            "lora_dropout": spec.lora_dropout,
        }
    return config | _schedule(spec)


def _schedule(spec: TrainSpec) -> dict[str, Any]:
    """``linear`` of transformers goes down to 0, its polynomial of the first power to where it is told."""
    falls = spec.min_learning_rate < spec.learning_rate and spec.warmup_steps < spec.max_steps
    if spec.lr_scheduler == "linear" and falls:
        kwargs = {"lr_end": spec.min_learning_rate, "power": 1.0}
        return {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": kwargs}
    if spec.lr_scheduler == "cosine":
        kwargs = {"min_lr": spec.min_learning_rate}
        return {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": kwargs}
    return {"lr_scheduler_type": "constant_with_warmup"}

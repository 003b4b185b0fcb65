"""Engine ``paddleformers``: PaddleFormers 1.2.0 (PyPI), stage VL-SFT, on a GPU or a CPU, full or LoRA.

The argument names are those of ``paddleformers.cli.hparams`` 1.2.0; the GPU figures are those of PaddleFormers'
best practice for PaddleOCR-VL.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sft.dataset import dropped
from sft.dataset.rows import Format
from sft.engines.base import (
    STEP_VARIABLE,
    Command,
    Folders,
    Progress,
    TrainSpec,
    cpu_threads,
    missing_files,
    read_progress,
)
from sft.models.lora import merge

# Without trainer_state the trainer silently starts again at step 0 with a decayed learning rate (tried).
_NEEDED = ("config.json", "trainer_state.*", "scheduler.pdparams", "optimizer*", "*.safetensors")


TEMPLATE = Path(__file__).parents[1] / "environments" / "paddle_template.py"  # PaddleFormers reads it as a file


class PaddleFormers:
    """See :class:`sft.engines.base.Engine`."""

    name = "paddleformers"
    version = "1.2.0"
    dataset_format: Format = "messages"
    packs = False
    augments = True
    enlarges = 1.5  # the template's, in half of the passes
    uses_this_gpu = False  # the wheel of Paddle that is installed here is the CPU's
    deals_alike = False  # each of several processes draws from an order of its own
    left_out = dropped.PADDLEFORMERS
    explained: Mapping[str, str] = {
        "custom_register_path": "the file is run, and the key taken out, before the rest is read"
    }

    def cannot(self, spec: TrainSpec) -> dict[str, str]:
        """What it computes in depends on the device alone."""
        found = spec.without_parts()
        if spec.device == "cpu" and spec.precision != "float32":
            found["device"] = "needs train.precision float32: the CPU kernels have no bf16"
        if spec.device == "cpu" and spec.devices > 1:
            found["devices"] = "needs engine transformers: on a CPU PaddleFormers is one process here"
        if spec.device == "gpu" and spec.precision == "float32":
            found["precision"] = "is for the CPU: a GPU's attention kernels take bf16, or float16 on cards without it"
        return found

    def command(self, spec: TrainSpec, folders: Folders, resume_from: Path | None) -> Command:
        """On one CPU process our launcher; on a GPU the package's own."""
        config = {**_common(spec, folders), **(_CPU if spec.device == "cpu" else _GPU)}
        if spec.precision == "float16":
            # Cards before Ampere have no kernel of flashmask.
            config |= {"_attn_implementation": "eager", "padding_free": False}
        if resume_from is not None:
            config["resume_from_checkpoint"] = str(resume_from)
        environment = _environment(spec, spec.devices) | _template(spec)
        printed = {"world_size": spec.devices}
        return Command((*_launcher(spec), "train", str(folders.config)), environment, config, printed)

    def parity(self, spec: TrainSpec, folders: Folders) -> Command:
        """PaddleFormers' own data pipeline, in the environment and with the template of the training."""
        argv = (sys.executable, "-m", "sft.models.paddle_parity", str(folders.config))
        return Command(argv, _environment(spec, 1) | _template(spec), {})

    def export(self, spec: TrainSpec, folders: Folders) -> None:
        """LoRA: merge the adapter into the base model (see :mod:`sft.models.lora` for why we do it ourselves)."""
        if spec.lora_rank is not None:
            merge(folders.base_model, folders.output, self.model_folder(spec, folders))

    def progress(self, line: str) -> Progress | None:
        """``loss: 1.23, learning_rate: 0.0019, global_step: 150, … interval_steps_per_second: 6.4, …``."""
        return read_progress(line)

    def checkpoint_problems(self, folder: Path) -> list[str]:
        """Files that a resume needs, and whether each safetensors file is as long as its header says."""
        return missing_files(folder, _NEEDED)

    def model_folder(self, spec: TrainSpec, folders: Folders) -> Path:
        """The trainer's output folder, or the merged model's."""
        return folders.output / "export" if spec.lora_rank is not None else folders.output


def _launcher(spec: TrainSpec) -> tuple[str, ...]:
    return (sys.executable, "-m", "sft.environments.cpu_launcher") if spec.device == "cpu" else ("paddleformers-cli",)


def _template(spec: TrainSpec) -> dict[str, str]:
    """What :mod:`sft.environments.paddle_template` reads."""
    return {"SFT_ASKS": json.dumps(spec.asks), "SFT_AUGMENT": spec.augment}


def _environment(spec: TrainSpec, devices: int) -> dict[str, str]:
    if spec.device == "cpu":
        return {**cpu_threads(), "PYTHONUNBUFFERED": "1", **STEP_VARIABLE}
    # paddleformers-cli hands it on to paddle.distributed.launch as --gpus, which starts a process for each
    # (paddleformers/cli/cli.py, 1.2.0). More than one is data parallel then: no key of the file asks for it.
    cards = ",".join(map(str, range(devices)))
    return {"CUDA_VISIBLE_DEVICES": cards, "PYTHONUNBUFFERED": "1", **STEP_VARIABLE}


_CPU: dict[str, Any] = {
    "device": "cpu",
    "_attn_implementation": "eager",
    # flex_checkpoint, the default, cannot resume in one plain process.
    "save_checkpoint_format": "unified_checkpoint",
    "load_checkpoint_format": "unified_checkpoint",
}
_GPU: dict[str, Any] = {
    "device": "gpu",
    "_attn_implementation": "flashmask",
    "fp16_opt_level": "O2",
    "padding_free": True,
    "truncate_packing": False,
    "recompute_granularity": "full",
    "recompute_method": "uniform",
    "recompute_num_layers": 1,
    "dataloader_num_workers": 8,
    "save_checkpoint_format": "unified_checkpoint",
    "load_checkpoint_format": "unified_checkpoint",
}


def _common(spec: TrainSpec, folders: Folders) -> dict[str, Any]:
    config: dict[str, Any] = {
        "stage": "VL-SFT",
        "fine_tuning": "full" if spec.lora_rank is None else "lora",
        "model_name_or_path": str(folders.base_model),
        "train_dataset_type": "messages",
        "train_dataset_path": str(folders.train_file),
        "train_dataset_prob": "1.0",
        "template_backend": "custom",
        "template": "sft_paddleocr_vl",
        "custom_register_path": str(TEMPLATE),
        "mix_strategy": "concat",
        "seed": spec.seed,
        "do_train": True,
        "do_eval": False,
        "max_seq_len": spec.max_seq_len,
        "per_device_train_batch_size": spec.batch_size,
        "gradient_accumulation_steps": spec.passes_per_device,
        "num_train_epochs": max(1, round(spec.epochs)),
        "max_steps": spec.max_steps,
        "warmup_steps": spec.warmup_steps,
        "learning_rate": spec.learning_rate,
        "weight_decay": spec.weight_decay,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_epsilon": 1e-8,
        "logging_steps": spec.logging_steps,
        "logging_dir": str(folders.logs),
        "save_strategy": "steps",
        "save_steps": spec.save_steps,
        "save_total_limit": spec.save_total_limit,
        "output_dir": str(folders.output),
        "disable_tqdm": True,
    }
    if spec.lora_rank is not None:
        config |= {"lora": True, "lora_rank": spec.lora_rank}
    return config | _precision(spec) | _schedule(spec)


def _precision(spec: TrainSpec) -> dict[str, Any]:
    """compute_type decides, and overwrites bf16 and fp16, which stand there so that what comes of them is compared."""
    compute_type = {"float32": "float32", "float16": "fp16", "bf16": "bf16"}[spec.precision]
    config = {"compute_type": compute_type, "bf16": spec.precision == "bf16", "fp16": spec.precision == "float16"}
    # Gradients are float32 then anyway; its default, true, is refused as a contradiction.
    return config | ({"amp_master_grad": False} if spec.precision == "float32" else {})


def _schedule(spec: TrainSpec) -> dict[str, Any]:
    """The schedule that does as asked: ``constant`` of 1.2.0 knows no warm-up, and ``linear`` goes down to 0."""
    falls = spec.min_learning_rate < spec.learning_rate and spec.warmup_steps < spec.max_steps
    if spec.lr_scheduler == "linear" and falls:
        return {"lr_scheduler_type": "polynomial", "power": 1.0, "lr_end": spec.min_learning_rate}
    if spec.lr_scheduler == "cosine":
        return {"lr_scheduler_type": "cosine", "min_lr": spec.min_learning_rate}
    return {"lr_scheduler_type": "constant_with_warmup" if spec.warmup_steps else "constant"}

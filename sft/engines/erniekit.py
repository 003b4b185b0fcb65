"""Engine ``erniekit``: ERNIEKit of PaddlePaddle/ERNIE, stage OCR-VL-SFT, full fine-tuning on a GPU.

The keys and their order are those of ``examples/configs/PaddleOCR-VL/sft/run_ocr_vl_sft_16k.yaml``, but for
``lr_scheduler`` (its ``lr_scheduler_type`` is never read) and two that this stage's workflow does not hand on to the
model, ``use_sparse_flash_attn`` and ``recompute_use_reentrant``.

The commit is of release/v1.5, with paddle 3.2.1, paddleformers 0.4.0, transformers 4.55.4 and safetensors 0.7.0: the
set that others pin (all digits of the hash included) and train with on GPUs, under Python 3.10 to 3.12. The docs commit
of before lacks the mending of a crash on tables (#1385). The other choice was 50223603 of the v1.4 line, whose code ran
here on a CPU (docs/verified.md); no source tells more than these 8 digits of it, and a checkout that is verified needs
all 40. Unknown: whether 1.5 differs in what this project relies on. Trainer, schedule and arguments are the same in the
copies of either line that could be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sft.dataset import dropped
from sft.dataset.rows import Format
from sft.engines.base import STEP_VARIABLE, Command, Folders, Progress, TrainSpec, missing_files, read_progress

ERNIE_COMMIT = "790a50b045d1aca2753d5395d8bec0806b2e6925"
# Of the argument classes it prints the training's and the preprocessor's.
_EXPLAINED: Mapping[str, str] = {
    **dict.fromkeys(
        ("train_dataset_type", "train_dataset_path", "train_dataset_prob", "num_samples_each_epoch"),
        "a data argument, which it does not print; the name of the training set comes with its first pass",
    ),
    **dict.fromkeys(
        ("model_name_or_path", "fine_tuning", "stage", "use_flash_attention", "recompute_granularity"),
        "a model argument, which it does not print",
    ),
    **dict.fromkeys(
        ("tensor_parallel_degree", "pipeline_parallel_degree", "sharding_parallel_degree", "sharding"),
        "on one card it prints that there is none: -1, and [] for the sharding",
    ),
}
_NEEDED = ("config.json", "trainer_state.*", "scheduler.pdparams", "optimizer*", "*.safetensors")


class ErnieKit:
    """See :class:`sft.engines.base.Engine`."""

    name = "erniekit"
    version = ERNIE_COMMIT
    dataset_format: Format = "erniekit"
    packs = True
    augments = False
    enlarges = 1.0
    uses_this_gpu = False  # the wheel of Paddle that is installed here is the CPU's
    deals_alike = False
    left_out = dropped.ERNIEKIT
    explained = _EXPLAINED

    def cannot(self, spec: TrainSpec) -> dict[str, str]:
        """Its stage OCR-VL-SFT trains in one way; of the schedules it builds two, and without one no optimiser."""
        found = spec.without_parts()
        if spec.device == "cpu":
            found["device"] = "needs engine paddleformers or transformers: ERNIEKit has no CPU version of OCR-VL"
        elif spec.precision != "bf16":
            found["precision"] = "needs engine paddleformers: ERNIEKit trains OCR-VL in bf16"
        if spec.devices > 1:
            # erniekit train starts a process for each of CUDA_VISIBLE_DEVICES, too. What its stage OCR-VL-SFT makes of
            # sharding stage1 then, and how it deals the packs out, nobody has seen.
            found["devices"] = "needs engine transformers or paddleformers: ERNIEKit trains on one card here"
        if spec.lora_rank is not None:
            found["lora"] = "needs engine paddleformers: the export of ERNIEKit's LoRA for OCR-VL does not work"
        if spec.lr_scheduler not in ("cosine", "constant"):
            found["lr_scheduler"] = "needs engine paddleformers: ERNIEKit has the schedules cosine and constant"
        return found

    def command(self, spec: TrainSpec, folders: Folders, resume_from: Path | None) -> Command:
        """``erniekit train CONFIG``; everything stands in the config file, nothing is overridden behind it."""
        config = _config(spec, folders)
        if resume_from is not None:
            config["resume_from_checkpoint"] = str(resume_from)
        environment = {"CUDA_VISIBLE_DEVICES": "0", "PYTHONUNBUFFERED": "1", **STEP_VARIABLE}
        return Command(("erniekit", "train", str(folders.config)), environment, config)

    def parity(self, spec: TrainSpec, folders: Folders) -> None:
        """Its data pipeline builds whole packs on a GPU: of one row it says nothing. The family's prompt is checked."""

    def export(self, spec: TrainSpec, folders: Folders) -> None:
        """Nothing: the trainer saves the model in the Hub's layout itself (save_to_hf)."""

    def progress(self, line: str) -> Progress | None:
        """The same line as PaddleFormers': both log through one trainer."""
        return read_progress(line)

    def checkpoint_problems(self, folder: Path) -> list[str]:
        """Files that a resume needs, and whether each safetensors file is as long as its header says."""
        return missing_files(folder, _NEEDED)

    def model_folder(self, spec: TrainSpec, folders: Folders) -> Path:
        """The trainer's output folder."""
        return folders.output


def _config(spec: TrainSpec, folders: Folders) -> dict[str, Any]:
    return {
        "train_dataset_type": "erniekit",
        "train_dataset_path": str(folders.train_file),
        "train_dataset_prob": "1.0",
        "max_seq_len": spec.max_seq_len,
        "num_samples_each_epoch": 6_000_000,
        "use_pic_id": False,
        "sft_replace_ids": True,
        "sft_image_normalize": True,
        "sft_image_rescale": True,
        "image_dtype": "float32",
        "model_name_or_path": str(folders.base_model),
        "fine_tuning": "Full",
        "multimodal": True,
        "use_flash_attention": True,
        "stage": "OCR-VL-SFT",
        "seed": spec.seed,
        "do_train": True,
        "distributed_dataloader": False,
        "dataloader_num_workers": 8,
        "prefetch_factor": 10,
        "batch_size": 1,
        "packing_size": spec.batch_size,
        "packing": True,
        "padding": False,
        "num_train_epochs": max(1, round(spec.epochs)),
        "max_steps": spec.max_steps,
        "save_steps": spec.save_steps,
        "save_total_limit": spec.save_total_limit,
        "save_strategy": "steps",
        "logging_steps": spec.logging_steps,
        "release_grads": True,
        "gradient_accumulation_steps": spec.gradient_accumulation_steps,
        "logging_dir": str(folders.logs),
        "output_dir": str(folders.output),
        "disable_tqdm": True,
        "warmup_steps": spec.warmup_steps,
        "learning_rate": spec.learning_rate,
        "lr_scheduler": spec.lr_scheduler,
        "min_lr": spec.min_learning_rate,
        "layerwise_lr_decay_bound": 1.0,
        "from_scratch": 0,
        "weight_decay": spec.weight_decay,
        "adam_epsilon": 1e-8,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "tensor_parallel_degree": 1,
        "pipeline_parallel_degree": 1,
        "sharding_parallel_degree": 1,
        "sharding": "stage1",
        "sequence_parallel": False,
        "pipeline_parallel_config": "enable_delay_scale_loss enable_release_grads disable_partial_send_recv",
        "recompute": True,
        "recompute_granularity": "full",
        "compute_type": "bf16",
        "fp16_opt_level": "O2",
        "disable_ckpt_quant": True,
        "amp_custom_white_list": [
            "lookup_table",
            "lookup_table_v2",
            "flash_attn",
            "matmul",
            "matmul_v2",
            "fused_gemm_epilogue",
        ],
        "amp_custom_black_list": [
            "reduce_sum",
            "softmax_with_cross_entropy",
            "c_softmax_with_cross_entropy",
            "elementwise_div",
            "sin",
            "cos",
        ],
        "unified_checkpoint": True,
        "convert_from_hf": True,
        "save_to_hf": True,
    }

"""Engine ``erniekit``: ERNIEKit of PaddlePaddle/ERNIE, stage OCR-VL-SFT, full fine-tuning on a GPU.

The keys and their order are those of ``examples/configs/PaddleOCR-VL/sft/run_ocr_vl_sft_16k.yaml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sft import dropped
from sft.dataset.rows import Format
from sft.engines.base import Command, Folders, Progress, TrainSpec, missing_files, read_progress

ERNIE_COMMIT = "3ab7f390ed3163dda271d204fa6359a9b60ad565"
_NEEDED = ("config.json", "trainer_state.*", "scheduler.pdparams", "optimizer*", "*.safetensors")


class ErnieKit:
    """See :class:`sft.engines.base.Engine`."""

    name = "erniekit"
    version = ERNIE_COMMIT
    dataset_format: Format = "erniekit"
    packs = True
    enlarges = 1.0
    left_out = dropped.ERNIEKIT

    def command(self, spec: TrainSpec, folders: Folders, resume_from: Path | None) -> Command:
        """``erniekit train CONFIG``; everything stands in the config file, nothing is overridden behind it."""
        config = _config(spec, folders)
        if resume_from is not None:
            config["resume_from_checkpoint"] = str(resume_from)
        environment = {"CUDA_VISIBLE_DEVICES": "0", "PYTHONUNBUFFERED": "1"}
        return Command(("erniekit", "train", str(folders.config)), environment, config)

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
        "use_sparse_flash_attn": True,
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
        "lr_scheduler_type": spec.lr_scheduler,
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
        "recompute_use_reentrant": True,
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

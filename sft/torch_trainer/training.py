"""transformers' Trainer, and what surrounds it: arguments and progress are told, a stop saves a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from sft.torch_trainer import adapter, modelling, passes

# Of the config file: what goes to the Trainer as it is. The rest says what model and which rows it gets.
OURS = (
    *("base_model", "train_file", "max_seq_len", "batch_size", "precision", "trained_parts"),
    *("lora_rank", "lora_alpha", "lora_dropout", "four_bit", "devices"),
)
# Of no use here, and a pickle: whoever finds a checkpoint should not have to trust it.
_PICKLED = "training_args.bin"


def arguments(settings: Mapping[str, Any]) -> Any:
    """The Trainer's arguments: those of the config file, and what does not change what is computed."""
    import transformers

    given = {key: value for key, value in settings.items() if key not in OURS}
    return transformers.TrainingArguments(
        **given,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        logging_nan_inf_filter=False,  # a loss that is no number is a fault, and told as it is
        train_sampling_strategy="sequential",  # the plan has an order already
        dataloader_pin_memory=not settings["use_cpu"],
        activation_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,
        ddp_backend="gloo" if settings["use_cpu"] and settings["devices"] > 1 and "RANK" in os.environ else None,
    )


def trainer(model: Any, arguments: Any, rows: passes.TrainingSet, settings: Mapping[str, Any]) -> Any:
    """The Trainer, ready to train."""
    import transformers

    class Trainer(transformers.Trainer):  # type: ignore[misc]
        """Saves what this project needs beside the weights, and no pickle that nobody reads."""

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            if settings["lora_rank"] is not None:  # a full model has been loaded from there: see modelling.load
                super()._load_from_checkpoint(resume_from_checkpoint, model)

        def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
            super()._save(output_dir, state_dict)
            folder = Path(output_dir or self.args.output_dir)
            (folder / _PICKLED).unlink(missing_ok=True)
            if settings["lora_rank"] is not None:
                adapter.write(self.accelerator.unwrap_model(self.model), folder)

    class Telling(transformers.TrainerCallback):  # type: ignore[misc]
        """Prints arguments and progress as PaddleFormers' trainer does, and ends at SIGTERM with a checkpoint."""

        def __init__(self) -> None:
            self.asked: list[int] = []
            self.stopping = False
            self.process = os.getpid()
            self.step, self.at = 0, time.monotonic()

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            signal.signal(signal.SIGTERM, self._stop)
            self.step, self.at = state.global_step, time.monotonic()
            if state.is_world_process_zero:
                _tell_arguments(model, args, rows, settings)
                tell("***** Running training *****")
                tell(f"  Total optimization steps = {state.max_steps}")

        def _stop(self, number: int, frame: FrameType | None) -> None:
            if os.getpid() != self.process:  # one that loads data, and has inherited this
                os._exit(0)
            self.asked.append(number)

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.stopping = _any(bool(self.asked), args)
            if self.stopping:
                control.should_save = control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if self.stopping:  # the checkpoint is whole, and taking all down would cost of the seconds that are left
                sys.stdout.flush()
                os._exit(0)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **rest: Any) -> None:
            if "loss" not in logs or not state.is_world_process_zero:
                return
            now = time.monotonic()
            learning_rate = float(rest["lr_scheduler"].get_last_lr()[0])  # after the step, as PaddleFormers says it
            rate = (state.global_step - self.step) / max(now - self.at, 1e-9)
            self.step, self.at = state.global_step, now
            tell(
                f"loss: {logs['loss']!r}, learning_rate: {learning_rate!r}, global_step: {state.global_step}, "
                f"grad_norm: {logs.get('grad_norm', 0.0)!r}, interval_steps_per_second: {rate:.5g}"
            )

    made = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=passes.together,
        compute_loss_func=passes.loss,
        callbacks=[Telling()],
    )
    made.remove_callback(transformers.PrinterCallback)
    return made


def _any(here: bool, arguments: Any) -> bool:
    """Is it so in any of the processes that train together? They have to stop after the same step: whoever went on
    would wait for the others' gradients for ever."""
    if arguments.world_size == 1:
        return here
    import torch

    told = torch.tensor([int(here)], device=arguments.device)
    torch.distributed.all_reduce(told, op=torch.distributed.ReduceOp.MAX)
    return bool(told.item())


def tell(text: str) -> None:
    """A line of the output."""
    print(text, flush=True)


def _tell_arguments(model: Any, arguments: Any, rows: passes.TrainingSet, settings: Mapping[str, Any]) -> None:
    """What is really used: asked of the Trainer's arguments, of the model and of the rows, not of the config file."""
    effective = {key: getattr(arguments, key) for key in settings if key not in OURS}
    own = {
        "base_model": rows.encoder.base,
        "train_file": rows.path,
        "max_seq_len": rows.longest,
        "batch_size": rows.most,
        "precision": "bf16" if arguments.bf16 else "float16" if arguments.fp16 else "float32",
        "devices": arguments.world_size,
        **modelling.facts(model),
    }
    for title, values in (("Training", effective), ("Model", own)):
        tell(f"- {title} Configuration Arguments")
        for key, value in values.items():
            tell(f"[INFO] - {key:<30}: {value}")

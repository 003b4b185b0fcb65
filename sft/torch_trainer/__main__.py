"""``python -m sft.torch_trainer CONFIG``: one training, from a config file to the saved model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sft.environments.light import starting, without_bitsandbytes
from sft.torch_trainer.rows import Unusable

NOT_INSTALLED = 3  # exit code


def main(path: Path) -> int:
    """Train as the config file says; the exit code is 0 also for a training that was asked to stop."""
    try:
        with starting():
            import torch
            import yaml

            settings: dict[str, Any] = yaml.safe_load(path.read_text())
            if not settings["four_bit"]:
                without_bitsandbytes()
            import accelerate  # noqa: F401
            import peft  # noqa: F401
            import transformers
            import transformers.trainer
    except ImportError as error:
        return not_installed(error)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    gpu = not settings["use_cpu"]
    if gpu and torch.cuda.device_count() < settings["devices"]:
        found = torch.cuda.device_count() or "no"
        print(f"RuntimeError: {found} GPU is found by torch, and {settings['devices']} are to train", flush=True)
        return 1
    try:
        return _train(settings, gpu=gpu)
    except Unusable as error:
        print(f"cannot train: {error}", flush=True)
        return 1


def not_installed(error: ImportError) -> int:
    """Say what is missing, and what installs it; the exit code."""
    print(f"ModuleNotFoundError: {error}: run make torch", flush=True)
    return NOT_INSTALLED


def _train(settings: dict[str, Any], *, gpu: bool) -> int:
    import transformers

    from sft.torch_trainer import modelling, passes, rows, training

    transformers.set_seed(settings["seed"])
    arguments = training.arguments(settings)
    first = arguments.process_index == 0
    base, longest = Path(settings["base_model"]), settings["max_seq_len"]
    said = training.tell if first else _silent
    training_set = passes.TrainingSet(Path(settings["train_file"]), rows.Encoder(base), longest, said)
    count = arguments.max_steps * arguments.gradient_accumulation_steps * arguments.world_size
    training_set.tell = training.tell  # a row that cannot be read any more is told by the process that comes to it
    training_set.plan(count, rows=settings["batch_size"], seed=arguments.seed)
    model = modelling.load(settings, gpu=gpu, checkpoint=arguments.resume_from_checkpoint)
    trainer = training.trainer(model, arguments, training_set, settings)
    trainer.train(resume_from_checkpoint=arguments.resume_from_checkpoint)
    if trainer.state.global_step < arguments.max_steps:
        return 0  # asked to stop: the checkpoint is what is left of it
    trainer.save_model()
    trainer.save_state()
    return 0


def _silent(text: str) -> None:
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

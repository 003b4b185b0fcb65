"""The engine transformers' own program on a GPU: trained, killed and resumed, stopped, LoRA, four bits a weight.

``python benchmarks/gpu_trainer.py [--tiny] [--modes lora,full] [--json FILE]`` with an interpreter that has torch,
transformers, accelerate, peft, Pillow and PyYAML (bitsandbytes for ``four_bit``), from any folder. The model has the
published sizes and random weights; its tokenizer is the tiny model's, a token for each character. The rows are pictures
of random letters. What is measured are the program's own lines and the card's memory as nvidia-smi says it. ``--tiny``
is the same at a size for a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu import configuration
from sft.smoke import tiny

PROJECT = Path(__file__).resolve().parents[1]
STEPS, SAVED = 6, 3
KILLED = 5  # steps when SIGKILL comes
ROWS = 96
BUDGET = {"full": 16_384, "tiny": 512}  # tokens of a pass
PIXELS = {"full": (112_896, 1_003_520), "tiny": (tiny.MIN_PIXELS, tiny.MAX_PIXELS)}
LINE = re.compile(r"loss: (\S+), .*global_step: (\d+), .*interval_steps_per_second: (\S+)")
MODES = ("lora", "four_bit", "full", "killed", "stopped")
Named = dict[str, Any]


def base_model(folder: Path, size: str) -> None:
    """A base model's folder: the tiny model's small files, a configuration of the given size, random weights."""
    import torch
    import transformers

    tiny.write_model_files(folder)
    ids, config = tiny.vocabulary(), configuration(size)
    config.image_token_id, config.video_token_id = ids["<|IMAGE_PLACEHOLDER|>"], ids["<|video_pad|>"]
    config.vision_start_token_id, config.vision_end_token_id = ids["<|IMAGE_START|>"], ids["<|IMAGE_END|>"]
    config.text_config.pad_token_id = 0
    torch.manual_seed(0)
    kind = transformers.PaddleOCRVLForConditionalGeneration
    torch.set_default_dtype(torch.bfloat16 if size == "full" else torch.float32)
    kind._from_config(config).save_pretrained(folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings |= dict(zip(("min_pixels", "max_pixels"), PIXELS[size], strict=True))
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def rows(folder: Path, size: str) -> Path:
    """Pictures of random letters with their text, in the messages format."""
    from PIL import Image, ImageDraw, ImageFont

    dice, font = random.Random(0), ImageFont.load_default(size=32 if size == "full" else 16)
    made = []
    for number in range(ROWS):
        longest = dice.choice((20, 200, 600)) if size == "full" else 12
        text = "".join(dice.choices(string.ascii_letters + "    ", k=dice.randrange(4, longest)))
        lines = [text[at : at + 40] for at in range(0, len(text), 40)]
        image = Image.new("RGB", (28 * 28 if size == "full" else 28 * 8, 28 + 40 * len(lines)), "white")
        ImageDraw.Draw(image).multiline_text((8, 4), "\n".join(lines), fill="black", font=font)
        image.save(folder / f"{number}.png")
        turns = [{"role": "user", "content": "<image>OCR:"}, {"role": "assistant", "content": text}]
        made.append(json.dumps({"messages": turns, "images": [str(folder / f"{number}.png")]}))
    path = folder / "train.jsonl"
    path.write_text("\n".join(made) + "\n")
    return path


def config(folder: Path, output: Path, size: str, mode: str) -> Named:
    """The program's config file (``sft/engines/transformers.py`` writes the same names)."""
    cpu = size == "tiny"
    low = mode in ("lora", "four_bit")
    found: Named = {
        "base_model": str(folder / "base"),
        "train_file": str(folder / "rows" / "train.jsonl"),
        "max_seq_len": BUDGET[size],
        "batch_size": 64,
        "precision": "float32" if cpu else "bf16",
        "trained_parts": ["text"] if low else ["text", "vision", "projector"],
        "lora_rank": 8 if low else None,
        "four_bit": mode == "four_bit",
        "output_dir": str(output),
        "seed": 1,
        "max_steps": STEPS,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "devices": 1,
        "learning_rate": 1e-4,
        "warmup_steps": 1,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch" if cpu else "adamw_torch_fused",
        "bf16": not cpu,
        "activation_checkpointing": not cpu,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": SAVED,
        "save_total_limit": 1,
        "use_cpu": cpu,
        "dataloader_num_workers": 0 if cpu else 8,
        "lr_scheduler_type": "constant_with_warmup",
    }
    return found | ({"lora_alpha": 16, "lora_dropout": 0.0} if low else {})


class Run:
    """One process of the program: its lines, when they came, and the most memory of the card meanwhile."""

    def __init__(self, path: Path, settings: Named, size: str) -> None:
        path.write_text(json.dumps(settings))  # JSON is YAML
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])}
        environment |= {"PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        if size == "tiny":
            environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
        self.output = Path(settings["output_dir"])
        self.losses: dict[int, float] = {}
        self.rates: dict[int, float] = {}
        self.lines: list[str] = []
        self.memory, self.began = 0, time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sft.torch_trainer", str(path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def follow(self, at: Callable[[int], None] = lambda step: None) -> Run:
        """Read to the end; ``at`` is called with each step that was told."""
        with _watched(self):
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.lines.append(line.rstrip())
                if found := LINE.search(line):
                    step = int(found[2])
                    self.losses[step], self.rates[step] = float(found[1]), float(found[3])
                    at(step)
            self.process.wait()
        self.seconds = time.monotonic() - self.began
        return self

    def said(self) -> str:
        """The end of the output."""
        return " | ".join(self.lines[-4:])[-600:]


class _watched(threading.Thread):
    """Asks nvidia-smi five times a second; where there is none, nothing."""

    def __init__(self, run: Run) -> None:
        super().__init__(daemon=True)
        self.run_, self.ended = run, threading.Event()

    def run(self) -> None:
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while shutil.which("nvidia-smi") and not self.ended.wait(0.2):
            told = subprocess.run(command, capture_output=True, text=True).stdout.split()
            self.run_.memory = max(self.run_.memory, *(int(value) for value in told if value.isdecimal()), 0)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()


def measured(folder: Path, size: str, mode: str, whole: dict[int, float]) -> Iterator[Named]:
    """Run the program in one mode; ``whole`` keeps the losses of the training that nobody disturbs."""
    output = folder / mode
    settings = config(folder, output, size, mode)
    run = Run(folder / f"{mode}.yaml", settings, size)
    if mode == "stopped":
        asked: list[float] = []

        def stop(step: int) -> None:
            if not asked:
                asked.append(time.monotonic())
                run.process.send_signal(signal.SIGTERM)

        run.follow(stop)
        took = time.monotonic() - asked[0] if asked else None
        yield _told(mode, run) | {"seconds_to_end": took}
        return
    run.follow(lambda step: run.process.kill() if mode == "killed" and step == KILLED else None)
    yield _told(mode, run)
    if mode == "full":
        whole.update(run.losses)
    if mode == "killed":
        again = settings | {"resume_from_checkpoint": str(output / f"checkpoint-{SAVED}")}
        resumed = Run(folder / "resumed.yaml", again, size).follow()
        yield _told("resumed", resumed)
        yield {"mode": "the same losses", "undisturbed": whole, "killed": run.losses, "resumed": resumed.losses}


def _told(mode: str, run: Run) -> Named:
    steady = [rate for step, rate in run.rates.items() if step - 1 in run.rates and (step - 1) % SAVED]
    kernel = next((line for line in run.lines if "attention" in line), "")
    told: Named = {
        "mode": mode,
        "rc": run.process.returncode,
        "losses": [round(loss, 4) for loss in run.losses.values()],
        "steps_per_second": max(steady, default=None),
        "seconds": run.seconds,
        "card_gb": run.memory * 1.048576 / 1e3,
        "checkpoints": sorted(one.name for one in run.output.glob("checkpoint-*")),
        "attention": kernel,
    }
    if run.process.returncode not in (0, -signal.SIGKILL):
        told["error"] = run.said()
    return told


def main() -> None:
    """Measure, print a line each, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a small model, on the CPU")
    parser.add_argument("--modes", default=",".join(MODES), help=f"of {', '.join(MODES)}")
    parser.add_argument("--json", type=Path, help="where the figures go")
    given = parser.parse_args()
    size, figures, whole = "tiny" if given.tiny else "full", [], {}  # type: str, list[Named], dict[int, float]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").mkdir()
        (folder / "rows").mkdir()
        base_model(folder / "base", size)
        rows(folder / "rows", size)
        for mode in given.modes.split(","):
            for figure in measured(folder, size, mode, whole):
                figures.append(figure)
                print(json.dumps(figure), flush=True)
                if given.json:
                    given.json.write_text(json.dumps(figures, indent=1))
            shutil.rmtree(folder / mode, ignore_errors=True)
    if any("error" in figure for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Make the weights of the tiny base model, from random ones: python scripts/pretrain_tiny_base.py WORK_FOLDER

It renders lines of printed digits in the fonts that matplotlib bundles (DejaVu, STIX, Computer Modern), trains with
PaddleFormers' own trainer on the CPU, and writes sft/smoke/tiny_base.safetensors (float16, without the packing
position table) and scripts/pretrain_tiny_base.log (the trainer's progress lines). About 25 minutes on one core.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFont
from safetensors.numpy import load_file, save_file

from sft.smoke import digits, tiny

ROWS = 16_000
STEPS = 5_000
COARSE = 0.5  # share of the digits that look scanned
# Short lines first teach what a digit looks like; without them the loss stays for long where only the length is known.
LENGTHS = (1, 1, 2, 2, 3, 4, 5, 6)
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmb10", "cmr10", "cmss10", "cmtt10"),
)


def printed_glyph(rng: random.Random, digit: str, fonts: list[ImageFont.FreeTypeFont]) -> Image.Image:
    """One digit, dark on white, 20 × 20 px, in a random font; half of them as a coarse scan of a slanted print."""
    size = digits.GLYPH
    glyph = Image.new("L", (size, size), 255)
    ImageDraw.Draw(glyph).text((size / 2, size / 2), digit, rng.randint(0, 60), rng.choice(fonts), anchor="mm")
    if rng.random() < COARSE:
        slant = rng.uniform(-0.35, 0.35)
        shear = (1, slant, -slant * size / 2, rng.uniform(-0.15, 0.15), 1, 0)
        glyph = glyph.transform((size, size), Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR, fillcolor=255)
        pixels = rng.choice((8, 10))
        glyph = glyph.resize((pixels, pixels), Image.Resampling.BOX).resize((size, size), Image.Resampling.BICUBIC)
    return glyph


def messages_row(image: str, text: str) -> dict[str, Any]:
    """One row in PaddleFormers' messages format."""
    messages = [{"role": "user", "content": "<image>OCR:"}, {"role": "assistant", "content": text}]
    return {"messages": messages, "images": [image]}


def train_config(work: Path) -> dict[str, Any]:
    """The arguments of PaddleFormers' trainer."""
    return {
        "stage": "VL-SFT",
        "fine_tuning": "full",
        "model_name_or_path": str(work / "model"),
        "continue_training": False,  # random weights
        "train_dataset_type": "messages",
        "train_dataset_path": str(work / "printed.jsonl"),
        "train_dataset_prob": "1.0",
        "template_backend": "custom",
        "template": "paddleocr_vl",
        "_attn_implementation": "eager",
        "device": "cpu",
        "bf16": False,
        "seed": 1,
        "do_train": True,
        "max_seq_len": 512,
        "per_device_train_batch_size": 16,
        "max_steps": STEPS,
        "warmup_steps": 60,
        "learning_rate": 1.5e-3,
        "lr_scheduler_type": "cosine",
        "min_lr": 1e-5,
        "weight_decay": 0.01,
        "logging_steps": 20,
        "save_strategy": "no",
        "output_dir": str(work / "out"),
        "save_checkpoint_format": "unified_checkpoint",
        "load_checkpoint_format": "unified_checkpoint",
        "disable_tqdm": True,
    }


def main(work: Path) -> None:
    """Render, train, export."""
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), size) for name in FONTS for size in (17, 19, 21)]
    rng = random.Random("printed")
    pairs = digits.lines(rng, ROWS, lambda r, digit: printed_glyph(r, digit, fonts), LENGTHS)
    digits.write_split(work, "printed", pairs, lambda image, text: messages_row(str(work / image), text))
    (work / "model").mkdir(exist_ok=True)
    tiny.write_model_files(work / "model")
    (work / "train.yaml").write_text(yaml.safe_dump(train_config(work)))
    with (work / "log.txt").open("w") as log:
        command = [sys.executable, "-m", "sft.engines.cpu_launcher", "train", str(work / "train.yaml")]
        subprocess.run(command, check=True, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    export(work)


def export(work: Path) -> None:
    """Narrow the trained weights to float16 and keep the log's progress lines."""
    weights = load_file(str(work / "out" / "model-00001-of-00001.safetensors"))
    narrow = {name: value.astype(np.float16) for name, value in weights.items() if name != tiny.PACKING_TABLE}
    save_file(narrow, str(tiny.WEIGHTS), metadata={"format": "np"})
    progress = [line for line in (work / "log.txt").read_text().splitlines() if "- loss: " in line]
    kept = [line[line.index("loss: ") : line.index(", interval_samples")] for line in progress]
    summary = json.dumps({"rows": ROWS, "fonts": FONTS, "steps": STEPS, "sha256": tiny.weights_hash()})
    Path(__file__).with_suffix(".log").write_text("\n".join([summary, *kept]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

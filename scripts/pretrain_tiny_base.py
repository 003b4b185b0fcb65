"""Make the weights of the tiny base model, from random ones: python scripts/pretrain_tiny_base.py WORK_FOLDER

It renders lines of printed digits in the fonts that matplotlib bundles (DejaVu, STIX, Computer Modern), trains with
PaddleFormers' own trainer on the CPU in two phases (crisp print, then half of it as coarse scans of slanted print), and
writes sft/smoke/tiny_base.safetensors (float16, without the packing position table) and scripts/pretrain_tiny_base.log
(the trainer's progress lines). A phase whose result lies in WORK_FOLDER is not trained again. About 30 minutes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFont
from safetensors.numpy import load_file, save_file

from sft.smoke import digits, tiny


@dataclass(frozen=True)
class Phase:
    """``coarse`` is the share of digits that look scanned; ``lengths`` are drawn evenly (digits in a line)."""

    name: str
    rows: int
    steps: int
    learning_rate: float
    coarse: float
    lengths: tuple[int, ...]


PHASES = (
    # Short lines first teach what a digit looks like; without them the loss stays long where only lengths are known.
    Phase("crisp", 12_000, 3_600, 1.5e-3, 0.0, (1, 1, 1, 2, 2, 3, 4, 5, 6)),
    # With coarse scans from the start the loss did not fall in 1,000 steps (tried): they come second.
    Phase("coarse", 12_000, 2_400, 1.2e-3, 0.5, (1, 2, 3, 4, 5, 6)),
)
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmb10", "cmr10", "cmss10", "cmtt10"),
)


def printed_glyph(rng: random.Random, digit: str, fonts: list[ImageFont.FreeTypeFont], coarse: float) -> Image.Image:
    """One digit, dark on white, 20 × 20 px, in a random font; some as a coarse scan of a slanted print."""
    size = digits.GLYPH
    glyph = Image.new("L", (size, size), 255)
    ImageDraw.Draw(glyph).text((size / 2, size / 2), digit, rng.randint(0, 60), rng.choice(fonts), anchor="mm")
    if rng.random() < coarse:
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


def train_config(work: Path, phase: Phase, start: Path | None) -> dict[str, Any]:
    """The arguments of PaddleFormers' trainer; ``start`` is the model folder to go on from, None for random weights."""
    return {
        "stage": "VL-SFT",
        "fine_tuning": "full",
        "model_name_or_path": str(start or work / "model"),
        "continue_training": start is not None,
        "train_dataset_type": "messages",
        "train_dataset_path": str(work / f"{phase.name}.jsonl"),
        "train_dataset_prob": "1.0",
        "template_backend": "custom",
        "template": "paddleocr_vl",
        "_attn_implementation": "eager",
        "device": "cpu",
        "compute_type": "float32",
        "amp_master_grad": False,
        "seed": 1,
        "do_train": True,
        "max_seq_len": 512,
        "per_device_train_batch_size": 16,
        "max_steps": phase.steps,
        "warmup_steps": 60,
        "learning_rate": phase.learning_rate,
        "lr_scheduler_type": "cosine",
        "min_lr": 1e-5,
        "weight_decay": 0.01,
        "logging_steps": 20,
        "save_strategy": "no",
        "output_dir": str(work / f"out-{phase.name}"),
        "save_checkpoint_format": "unified_checkpoint",
        "load_checkpoint_format": "unified_checkpoint",
        "disable_tqdm": True,
    }


def train(work: Path, phase: Phase, start: Path | None) -> Path:
    """Render the rows of a phase and train; returns the folder of the model."""
    output = work / f"out-{phase.name}"
    if (output / "train_results.json").exists():
        return output
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), size) for name in FONTS for size in (17, 19, 21)]
    rng = random.Random(phase.name)
    pairs = digits.lines(rng, phase.rows, lambda r, d: printed_glyph(r, d, fonts, phase.coarse), phase.lengths)
    digits.write_split(work, phase.name, pairs, lambda image, text: messages_row(str(work / image), text))
    config = work / f"{phase.name}.yaml"
    config.write_text(yaml.safe_dump(train_config(work, phase, start)))
    with (work / f"{phase.name}.txt").open("w") as log:
        command = [sys.executable, "-m", "sft.environments.cpu_launcher", "train", str(config)]
        subprocess.run(command, check=True, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "2"})
    return output


def main(work: Path) -> None:
    """Train the phases, one from the other, and export."""
    (work / "model").mkdir(parents=True, exist_ok=True)
    tiny.write_model_files(work / "model")
    model: Path | None = None
    for phase in PHASES:
        model = train(work, phase, model)
    assert model is not None
    export(work, model)


def export(work: Path, model: Path) -> None:
    """Narrow the trained weights to float16 and keep the logs' progress lines."""
    weights = load_file(str(model / "model-00001-of-00001.safetensors"))
    narrow = {name: value.astype(np.float16) for name, value in weights.items() if name != tiny.PACKING_TABLE}
    save_file(narrow, str(tiny.WEIGHTS), metadata={"format": "np"})
    summary = {"phases": [asdict(phase) for phase in PHASES], "fonts": FONTS, "sha256": tiny.weights_hash()}
    lines = [json.dumps(summary)]
    for phase in PHASES:
        lines.append(f"phase {phase.name}")
        progress = [line for line in (work / f"{phase.name}.txt").read_text().splitlines() if "- loss: " in line]
        lines += [line[line.index("loss: ") : line.index(", interval_samples")] for line in progress]
    Path(__file__).with_suffix(".log").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

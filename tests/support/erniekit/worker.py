"""The worker: reads the config as ERNIEKit does, goes through the rows, prints and saves what it was seen to."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from tests.support.erniekit.files import save

FIXTURES = Path(__file__).parents[2] / "fixtures"
DEFAULTS = {"lr_scheduler": "cosine", "compute_type": "bf16", "logging_steps": 500, "save_steps": 500, "min_lr": 0.0}
ROUNDS = 200  # passes over rows none of which fits
_CHECKPOINT = re.compile(r"^checkpoint-(\d+)$")
_ARGUMENT = re.compile(r"^(?P<before>.*- )(?P<name>\w+)(?P<colon> *: )(?P<value>.*?)(?P<after>(?:\x1b\[0m)?)$")
_ENUM = re.compile(r"[A-Z]\w+\.[A-Z]+")  # SchedulerType.LINEAR
_FIELD = re.compile(r"\b(\w+)=('[^']*'|[^,']+?)(?=[,)])")


def work(path: Path) -> None:
    """Train as the config file says."""
    config: dict[str, Any] = {**DEFAULTS, **yaml.safe_load(path.read_text())}
    output = Path(config["output_dir"])
    start = _resumed(config, output)
    packs = _packs(config, _rows(config))
    _print_arguments(config)
    print(f"ENVS:\n{chr(10).join(f'{name}={value}' for name, value in os.environ.items())}")
    for step in range(start + 1, min(config["max_steps"], int(os.environ.get("STANDIN_STOP_AT", 10**9))) + 1):
        data = [next(packs) for _ in range(config["gradient_accumulation_steps"])][-1]
        time.sleep(float(os.environ.get("STANDIN_STEP_SECONDS", "0")))
        if step % config["logging_steps"] == 0:
            print(_progress(config, step, data))
        if config["packing_size"] == 64:
            sys.exit("paddle.base.core.ResourceExhaustedError: Out of memory error on GPU 0. Cannot allocate 2.0GB")
        if step % config["save_steps"] == 0:
            save(output / f"checkpoint-{step}", Path(config["model_name_or_path"]), step, checkpoint=True)
    save(output, Path(config["model_name_or_path"]), step, checkpoint=False)


def _resumed(config: dict[str, Any], output: Path) -> int:
    """The step that is resumed from."""
    found = [path.name for path in output.iterdir()] if output.is_dir() else []
    steps = [int(match[1]) for name in found if (match := _CHECKPOINT.match(name))]
    if found and not steps:
        raise ValueError(
            f"Output directory ({output}) already exists and is not empty. Use --overwrite_output_dir to overcome."
        )
    if given := config.get("resume_from_checkpoint"):
        assert os.path.exists(given), f"{given} does not exist."
        return int(str(given).rpartition("-")[2])
    return max(steps, default=0)


def _rows(config: dict[str, Any]) -> list[tuple[int, int]]:
    """(number, tokens) of the rows that can be trained on."""
    found = []
    for number, line in enumerate(Path(config["train_dataset_path"]).read_text().splitlines()):
        row = json.loads(line)
        with Image.open(row["image_info"][0]["image_url"]) as image:
            patches = math.ceil(image.width / 28) * math.ceil(image.height / 28)
        found.append((number, patches + sum(len(text["text"]) for text in row["text_info"]) + 10))
    return found


def _packs(config: dict[str, Any], rows: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Row numbers of the forward passes, without end."""
    pack: list[int] = []
    room = config["max_seq_len"]
    for _ in range(ROUNDS):
        for number, tokens in rows:
            if tokens > config["max_seq_len"]:
                _say_too_long()
                continue
            if tokens > room or len(pack) == config["packing_size"]:
                yield pack
                pack, room = [], config["max_seq_len"]
            pack.append(number)
            room -= tokens
        if pack:
            yield pack
            pack, room = [], config["max_seq_len"]
    sys.exit("the stand-in has gone round often enough: the real trainer would go on for ever")


def _say_too_long() -> None:
    print((FIXTURES / "erniekit_row_too_long.log").read_text(), end="")


def _print_arguments(config: dict[str, Any]) -> None:
    """As recorded, with this training's values in the places where the real one prints them."""
    lines = (FIXTURES / "erniekit_start.log").read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if "loss: " in line)
    for line in lines[:end]:
        match = _ARGUMENT.match(line)
        if match is not None and match["name"] in config:
            line = "".join([match["before"], match["name"], match["colon"], _printed(config, match), match["after"]])
        elif "Arguments(" in line:
            line = _FIELD.sub(lambda field: _field(config, field), line)
        print(re.sub(r"(Total optimization steps = )\d+", rf"\g<1>{config['max_steps']:,}", line))


def _printed(config: dict[str, Any], match: re.Match[str]) -> str:
    recorded = match["value"]
    if recorded in ("-1", "[]"):
        return recorded  # on one card: no parallelism
    value = str(config[match["name"]])
    return re.sub(r"(?<=\.)[A-Z]+$", value.upper(), recorded) if _ENUM.fullmatch(recorded) else value


def _field(config: dict[str, Any], field: re.Match[str]) -> str:
    return f"{field[1]}={config[field[1]]!r}" if field[1] in config else field[0]


def _rate(config: dict[str, Any], step: int) -> float:
    """ernie/lr_schedulers: cosine_lr.py and constant_lr.py, copied by formula."""
    peak, warmup, steps = config["learning_rate"], config.get("warmup_steps", 0), config["max_steps"]
    if step < warmup:
        return float(peak * step / max(1, warmup))
    if config["lr_scheduler"] == "constant":
        return float(peak)
    ratio = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    return float(peak * (ratio * (1 - config["min_lr"] / peak) + config["min_lr"] / peak))


def _number(value: float) -> str:
    """How its logging callback writes a number."""
    return f"{value:e}" if value < 1e-3 else f"{value:f}"


def _progress(config: dict[str, Any], step: int, rows: list[int]) -> str:
    line = (FIXTURES / "erniekit_progress_lines.log").read_text().splitlines()[0]
    for name, value in {
        "loss": repr(1 / step),
        "loss_cur_dp": repr(1 / step),
        "learning_rate": _number(_rate(config, step)),
        "global_step": str(step),
        "data_id": "-".join(map(str, rows)),
    }.items():
        line = re.sub(rf"(?<!\w){name}: [^,\s]+", f"{name}: {value}", line)
    return line

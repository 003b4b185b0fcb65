"""What an environment is for, done in it once: ``python -m modal_infra.proofs NAME``, run by ``make images``.

With the demo's material (sft/smoke) and the real jobs, on a CPU. What needs a GPU is in none of them.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from PIL import Image, ImageDraw

import sft
from sft import jobs
from sft.config import load
from sft.context import Context
from sft.dataset.files import DatasetFiles
from sft.dataset.packing import Amount
from sft.dataset.settings import DatasetConfig
from sft.dataset.validate import validate
from sft.models import second_reader
from sft.models.readers import open_reader
from sft.plan import dataset_place, download_args, train_args
from sft.smoke import digits
from sft.store.contents import Base
from sft.store.volumes import Volumes

STEPS = 4
ROWS = 32


def safetensors(work: Path) -> None:
    """What is written is what is read, also for an array that is not contiguous."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    wanted = np.arange(6, dtype=np.float32).reshape(2, 3).T
    save_file({"transposed": wanted}, str(work / "transposed.safetensors"))
    np.testing.assert_array_equal(load_file(str(work / "transposed.safetensors"))["transposed"], wanted)


def light(work: Path) -> None:
    """Every module of the domain imports."""
    for module in pkgutil.walk_packages(sft.__path__, "sft."):
        importlib.import_module(module.name)


def night(work: Path) -> None:
    """Every module of the orchestrator imports, and Prefect's server finds tables that it need not make."""
    from modal_infra.image import ROOMS  # here, as the other environments have no client of Modal

    for room in ROOMS:
        for module in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
            importlib.import_module(module.name)
    (tables,) = (Path(sys.prefix) / "share" / "prefect").glob("empty.db")
    with closing(sqlite3.connect(tables)) as database:
        assert database.execute("SELECT count(*) FROM flow_run").fetchone() == (0,)
    assert "paddle" not in sys.modules, "the host has none"


def erniekit(work: Path) -> None:
    """What surrounds ERNIEKit: PaddleFormers' trainer trains, logs through VisualDL and saves, on a matrix."""
    import numpy as np
    import paddle
    from paddleformers.trainer import Trainer, TrainingArguments

    class Model(paddle.nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.matrix = paddle.nn.Linear(2, 3)

        def forward(self, x: Any) -> Any:
            return self.matrix(x)

    rows = [{"x": np.ones(2, np.float32), "labels": np.zeros(3, np.float32)} for _ in range(ROWS)]
    arguments = TrainingArguments(
        output_dir=str(work / "trainer"),
        max_steps=STEPS,
        per_device_train_batch_size=2,
        device="cpu",
        report_to=["visualdl"],
        logging_dir=str(work / "logs"),
        logging_steps=1,
        disable_tqdm=True,
    )
    trainer = Trainer(model=Model(), criterion=paddle.nn.MSELoss(), args=arguments, train_dataset=rows)
    trainer.train()
    trainer.save_model()
    assert trainer.state.global_step == STEPS
    assert list((work / "logs").rglob("*vdlrecords*")), "VisualDL has written nothing"
    assert list((work / "trainer").glob("model*")), "no model was saved"


def paddleformers(work: Path) -> None:
    """Trains four steps in full and four of LoRA; each model reads a line, and PaddleOCR's parser reads it alike."""
    context, image = Context(_volumes(work), "replay"), str(work / "digits" / "held_out" / "00000.png")
    for model in _trained(work, context, "engine=paddleformers"):
        place = f"outputs/{model.relative_to(context.volumes.outputs)}"
        reading = {"model": place, "images": [image], "prompt": "OCR:", "device": "cpu", "max_new_tokens": 8}
        (text,) = jobs.find("infer").run(reading, context)["texts"]
        parsed = _parsed(model, image)
        assert text, "an answer of four steps is some digits"
        assert parsed == text, f"PaddleOCR's parser reads {parsed!r}, we read {text!r}"


def transformers(work: Path) -> None:
    """Trains four steps in full and four of LoRA, in the environment beside this one, where each model reads a line."""
    context, rows = Context(_volumes(work), "replay"), [(work / "digits" / "held_out" / "00000.png", "OCR:")]
    for model in _trained(work, context, "engine=transformers"):
        reader = open_reader("transformers", model, "cpu")
        ((_, answer),) = reader.answers(rows, batch_size=1, max_new_tokens=8)
        reader.close()
        alone = second_reader.read(model, rows, device="cpu", batch_size=1, max_new_tokens=8)
        assert answer.text, "an answer of four steps is some digits"
        assert alone.texts == [answer.text], f"transformers alone reads {alone.texts!r}, we read {answer.text!r}"


def _volumes(work: Path) -> Volumes:
    volumes = Volumes.below(work)
    volumes.make()
    return volumes


def _trained(work: Path, context: Context, engine: str) -> Iterator[Path]:
    """The model folders of two short trainings on lines of digits: of all weights, of an adapter."""
    for name, rows in (("train", ROWS), ("held_out", 8)):
        digits.write_split(work / "digits", name, digits.lines(random.Random(name), rows, _printed))
    files = DatasetFiles.of(work / "digits" / "train.jsonl", work / "digits" / "held_out.jsonl")
    report = validate(files.train, files.held_out, DatasetConfig())
    for lora in ("train.lora=null", "train.lora.rank=8"):
        settings = [f"train.max_steps={STEPS}", "train.batch_size=4", "train.logging_steps=1", lora, engine]
        config = load("smoke", settings).config
        base = cast("Base", jobs.find("download_model").run(download_args(config).model_dump(mode="json"), context))
        args = train_args(config, dataset_place(files, report, str(work / "digits")), Amount(ROWS), base)
        jobs.find("train").run(args.model_dump(mode="json"), context)
        yield context.volumes.run(args.identity) / "model"


def _printed(rng: random.Random, digit: str) -> Image.Image:
    """A digit in Pillow's own font: the environments need not have the handwritten ones."""
    glyph = Image.new("L", (digits.GLYPH, digits.GLYPH), 255)
    ImageDraw.Draw(glyph).text((digits.GLYPH / 2, digits.GLYPH / 2), digit, fill=0, anchor="mm", font_size=18)
    return glyph


def _parsed(model: Path, image: str) -> str:
    """The part of PaddleOCR's document parser that reads an element; its layout model would have to be downloaded."""
    from paddlex import create_model

    reader = create_model("PaddleOCR-VL-0.9B", model_dir=str(model), device="cpu")
    (result,) = reader.predict({"image": image, "query": "OCR:"}, max_new_tokens=8)
    return str(result["result"])


PROOFS = {
    **{"light": (light,), "night": (night,), "erniekit": (erniekit,), "paddleformers": (paddleformers,)},
    "transformers": (light, transformers),
}


def main() -> None:
    """Prove the environment that runs this."""
    for proof in (safetensors, *PROOFS[sys.argv[1]]):
        with tempfile.TemporaryDirectory() as work:
            proof(Path(work))


if __name__ == "__main__":
    main()

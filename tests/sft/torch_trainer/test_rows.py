"""Rows of several turns and images, packed: asked as the processor asks, computed as transformers computes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sft.smoke import digits, tiny
from tests.sft.torch_trainer.torch_python import installed, says

pytestmark = installed

# Rows through the model one by one, as transformers' own documentation has it: labels, attention mask, its own
# positions, eager attention, its own loss. Then all in one pass of ours. In float64, but for the losses: float32.
BODY = """
import json, sys, torch
from sft.torch_trainer import attention, modelling, passes, rows
import transformers
from pathlib import Path
base, file = Path(sys.argv[1]), Path(sys.argv[2])
encoder = rows.Encoder(base)
encoded = [encoder.encode(rows.Row.of(line)) for line in file.open("rb")]
lengths = [encoder.length(rows.Row.of(line)) for line in file.open("rb")]
attention.register()
def model(kind):
    torch.manual_seed(1)
    made = transformers.AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float64, attn_implementation=kind)
    return made.train()
def gradients(made):
    return {name: p.grad for name, p in made.named_parameters() if p.grad is not None}
theirs, total = model("eager"), 0.0
learned = sum(int((row.labels[1:] != rows.IGNORED).sum()) for row in encoded)
positions = []
for row in encoded:
    kinds = (row.ids == encoder.config.image_token_id).int()[None]
    own = theirs.model.get_rope_index(row.ids[None], kinds, row.grid)[0][:, 0]
    positions.append(bool((own == row.positions).all()))
    out = theirs(input_ids=row.ids[None], labels=row.labels[None], attention_mask=torch.ones_like(row.ids)[None],
                 pixel_values=row.patches.double(), image_grid_thw=row.grid, mm_token_type_ids=kinds)
    share = int((row.labels[1:] != rows.IGNORED).sum()) / learned
    (out.loss * share).backward()
    total += out.loss.item() * share
found = {"loss": total, "lengths": lengths == [len(row.ids) for row in encoded], "positions": all(positions)}
for name in ("by_row", "recomputed"):
    ours = model(attention.BY_ROW)
    if name == "recomputed":
        ours.activation_checkpointing_enable({"use_reentrant": False})
    inputs = passes.together([encoded])
    inputs["pixel_values"] = inputs["pixel_values"].double()
    labels = inputs.pop("labels")
    loss = passes.loss(ours(**inputs), labels.clone())
    loss.backward()
    a, b = gradients(theirs), gradients(ours)
    found[name] = {"loss": loss.item(), "same": a.keys() == b.keys(), "learned": int(labels.ne(-100).sum()) == learned,
                   "difference": max(float((a[n] - b[n]).abs().max() / a[n].abs().max().clamp(min=1e-9)) for n in a)}
first = encoded[0]
pictures = json.loads(file.open().readline())["images"]
from PIL import Image
processor = encoder.processor
message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "OCR:"}]}]
text = processor.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
processor.image_processor = encoder.images
asked = processor(images=[Image.open(pictures[0]).convert("RGB")], text=[text], return_tensors="pt")["input_ids"][0]
found["prompt"] = bool((asked == first.ids[: len(asked)]).all()) and bool((first.labels[: len(asked)] == -100).all())
found["answers"] = [processor.tokenizer.decode(row.labels[row.labels != -100]) for row in encoded]
found["ends"] = transformers.GenerationConfig.from_pretrained(base).eos_token_id == int(first.labels[-1])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    tiny.materialise(folder)
    return folder


def write_rows(folder: Path, name: str, rows: list[tuple[list[str], list[tuple[str, str]]]]) -> Path:
    path = folder / name
    with path.open("w") as file:
        for images, turns in rows:
            messages = [
                {"role": role, "content": text}
                for turn in turns
                for role, text in zip(("user", "assistant"), turn, strict=True)
            ]
            file.write(json.dumps({"messages": messages, "images": images}) + "\n")
    return path


@pytest.fixture(scope="module")
def found(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("rows")
    digits.write_dataset(folder, train_rows=6, held_out_rows=1, seed=3)
    images = [str(path) for path in sorted((folder / "train").iterdir())]
    with Image.open(images[1]) as image:
        image.resize((image.width * 2, image.height * 2)).save(images[1])  # another number of rows and columns
    ask = "<image>OCR:"
    path = write_rows(
        folder,
        "rows.jsonl",
        [
            (images[:1], [(ask, "898")]),
            (images[1:2], [(ask, "1"), ("OCR:", "22"), ("OCR:", "333")]),
            (images[2:4], [("<image>" + ask, "45\n67")]),
            (images[4:6], [(ask, "7"), (ask, "8901")]),
        ],
    )
    result: dict[str, Any] = says(BODY, base, path)
    return result


@pytest.mark.parametrize("way", ["by_row", "recomputed"])
def test_rows_in_one_pass_have_the_loss_and_the_gradients_of_rows_by_themselves(
    found: dict[str, Any], way: str
) -> None:
    assert found[way]["loss"] == pytest.approx(found["loss"], rel=1e-6)
    assert found[way]["same"], "the same weights get gradients"
    assert found[way]["learned"]
    assert found[way]["difference"] < 1e-5


def test_the_prompt_is_the_processors_own_and_the_answer_ends_where_reading_ends(found: dict[str, Any]) -> None:
    assert found["prompt"]
    assert found["ends"]
    assert found["answers"] == ["898</s>", "1</s>22</s>333</s>", "45\n67</s>", "7</s>8901</s>"]


def test_lengths_are_told_without_looking_at_pixels_and_positions_are_the_models_own(found: dict[str, Any]) -> None:
    assert found["lengths"]
    assert found["positions"]


HUB = (  # the Hub's form: an answer is a list of parts
    "{% for m in messages %}{% if m.role == 'user' %}User: {% for p in m.content %}{% if p.type == 'image' %}"
    "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>{% else %}{{ p.text }}{% endif %}{% endfor %}{{ '\\n' }}"
    "{% else %}Assistant: {% for p in m.content %}{{ p['text'] }}{% endfor %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
NO_ANSWER = "{% for m in messages %}{{ m.role }}{% endfor %}"
TEMPLATES = """
import json, sys
from pathlib import Path
from sft.torch_trainer import rows
row = rows.Row(("",), ((1, "OCR:", "12"),))
found = []
for folder in sys.argv[1:]:
    try:
        encoder = rows.Encoder(Path(folder))
        found.append(encoder._pieces(row, encoder._as_parts)[1])
    except rows.Unusable as error:
        found.append(str(error))
print(json.dumps(found))
"""


def test_a_template_that_puts_no_answer_behind_a_prompt_is_refused(base: Path, tmp_path: Path) -> None:
    folders = []
    for number, template in enumerate((HUB, NO_ANSWER)):
        shutil.copytree(base, tmp_path / str(number))
        (tmp_path / str(number) / "chat_template.jinja").write_text(template)
        folders.append(tmp_path / str(number))
    ours, hubs, none = says(TEMPLATES, base, *folders)
    assert ours == hubs == ["12</s>", True]
    assert "chat template does not put an answer behind a prompt" in none

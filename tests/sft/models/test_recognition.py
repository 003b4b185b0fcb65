"""Reading in batches gives what reading row by row gives, with the real model on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

from sft.smoke import digits, tiny

BODY = """
import json, sys
from pathlib import Path
from sft.models.recognition import Recogniser
recogniser = Recogniser(Path(sys.argv[1]), "cpu")
rows = [(Path(image), "OCR:") for image in sys.argv[2:]]
def read(size):
    numbered = list(recogniser.read(rows, batch_size=size, max_new_tokens=10))
    return [text for _, text in sorted(numbered)]
seen = []  # positions that the first layer is given, step by step
layer = recogniser._model.model.layers[0]
layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
one_by_one, batched = read(1), read(7)
steps = seen[-5:]
recogniser._model.update_model_kwargs_for_generation = type(recogniser._model).update_model_kwargs_for_generation
print("OUT", json.dumps([one_by_one, batched, read(7), steps, seen[-5:]]))
"""


def test_a_batch_of_different_widths_reads_like_its_rows_one_by_one(tmp_path: Path) -> None:
    tiny.materialise(tmp_path / "model")
    digits.write_dataset(tmp_path / "data", train_rows=1, held_out_rows=21, seed=3)
    images = [str(path) for path in sorted((tmp_path / "data" / "held_out").iterdir())]
    command = [sys.executable, "-c", BODY, str(tmp_path / "model"), *images]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "OUT" in process.stdout, process.stderr[-3000:]
    one_by_one, batched, anew, steps, steps_anew = json.loads(process.stdout.split("OUT", 1)[1])
    assert batched == one_by_one
    assert batched == anew, "what PaddleFormers reads when each step begins at the image"
    assert steps == [1] * 5, "a step goes on from the one before"
    assert min(steps_anew) > 20, "PaddleFormers has learnt to do so by itself: take our correction out"
    assert len({len(text) for text in batched}) > 1, "rows of different widths"
    assert all(text.isdigit() for text in batched), "the base model reads digits, and stops at their end"


TURNS = """
import json, sys
from pathlib import Path
from sft.models.recognition import Recogniser, Turn
import paddle
from paddleformers.datasets.template.template import get_template_and_fix_tokenizer
recogniser = Recogniser(Path(sys.argv[1]), "cpu")
a, b, c, d = map(Path, sys.argv[2:6])
rows = {
    "one": (Turn((a,), "OCR:"),),
    "two images": (Turn((a, b), "OCR:"),),
    "other second image": (Turn((a, c), "OCR:"),),
    "second turn": (Turn((a,), "OCR:", "12"), Turn((b,), "OCR:")),
    "turn without an image": (Turn((a,), "OCR:", "12"), Turn((), "OCR:")),
    "third turn": (Turn((a, b), "OCR:", "1 2"), Turn((), "again", "3"), Turn((c,), "OCR:")),
}
processor, tokenizer = recogniser._processor, recogniser._processor.tokenizer
template = get_template_and_fix_tokenizer(
    {"tokenizer": tokenizer, "template": "paddleocr_vl", "tool_format": None, "default_system": None})
plugin = template.mm_plugin
plugin.image_augmentation = lambda image: image  # chance may turn and scale an image
wrong = {}
for name, turns in rows.items():
    messages = []
    for turn in turns:
        said = "<image>" * len(turn.images) + turn.prompt
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": turn.answer or "?"}]
    images = [str(path) for turn in turns for path in turn.images]
    counts = {"imglens": [len(images)], "vidlens": [0], "audlens": [0], "batch_ids": None}
    mm = plugin.get_mm_inputs(images, [], [], processor, **counts)
    written = plugin.process_messages(messages, images, [], [], mm, processor)
    pairs = template.encode_multiturn(tokenizer, written)
    trained = sum((asked + said for asked, said in pairs[:-1]), []) + pairs[-1][0]
    ours = recogniser.inputs([turns])
    same = (paddle.to_tensor(mm["pixel_values"]) == ours["pixel_values"]).all().item()
    if ours["input_ids"][0].tolist() != trained or not same:
        wrong[name] = [ours["input_ids"][0].tolist()[-40:], trained[-40:]]
several = [*rows.values(), *((path, "OCR:") for path in (a, b, c, d)), (Turn((), "no image"),)]
read = lambda size: [answer for _, answer in sorted(recogniser.answers(several, batch_size=size, max_new_tokens=10))]
short = dict(recogniser.answers([(d, "OCR:")], batch_size=1, max_new_tokens=1))[0]
print("OUT", json.dumps([wrong, read(8) == read(1), [text for text, _ in read(8)], [cut for _, cut in read(8)], short]))
"""


def test_several_images_and_turns_are_read_as_the_trainer_writes_them(tmp_path: Path) -> None:
    tiny.materialise(tmp_path / "model")
    digits.write_dataset(tmp_path / "data", train_rows=1, held_out_rows=6, seed=3)
    images = [str(path) for path in sorted((tmp_path / "data" / "held_out").iterdir())[:4]]
    command = [sys.executable, "-c", TURNS, str(tmp_path / "model"), *images]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "OUT" in process.stdout, process.stderr[-3000:]
    wrong, alike, texts, cut, short = json.loads(process.stdout.split("OUT", 1)[1])
    assert wrong == {}, "the tokens and pixels that PaddleFormers trains on"
    assert alike, "in a batch as by itself"
    assert texts[0] == texts[6], "an image and its prompt are a row of one turn"
    assert not any(cut[6:10]), "digits end by themselves"
    assert short[1], "one token is not the whole number"

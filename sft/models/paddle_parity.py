"""What PaddleFormers makes of a few rows, and what our reader is asked for them: ``python -m … train.yaml rows.jsonl``.

Prints one line of JSON, for :mod:`sft.training.parity`. The rows go through PaddleFormers' own data pipeline, with the
arguments of the training that is about to begin: its parser, its tokenizer, its template, its dataset (as in
paddleformers/cli/train/sft/workflow.py, 1.2.0). Then the base answers a few of them (:mod:`sft.models.paddle_answers`).
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from sft.environments.cpu_launcher import stub_triton
from sft.environments.light import starting

# What the arguments must say where no device is to be touched; the data pipeline does not heed them.
_ON_CPU = {"device": "cpu", "compute_type": "float32", "bf16": False, "fp16": False, "amp_master_grad": False}
ANSWERED = 4  # rows that the base answers


def main() -> None:
    """See the module."""
    config = yaml.safe_load(Path(sys.argv[1]).read_text())
    told = sys.stdout
    sys.stdout = sys.stderr  # PaddleFormers' own words
    if config.get("device") == "cpu":
        stub_triton()
    rows = [json.loads(line) for line in Path(sys.argv[2]).read_bytes().splitlines()]
    sequences, processor = _trained(config, sys.argv[2], len(rows))
    pairs = zip(rows, sequences, strict=True)
    # What the trainer leaves out is counted while it trains.
    found: dict[str, Any] = {"rows": [_beside(row, made, processor) for row, made in pairs if made is not None]}
    used = {token for row in found["rows"] for name in ("trained", "asked", "answer") for token in row[name]}
    names = processor.tokenizer.convert_ids_to_tokens(sorted(used))
    found["tokens"] = dict(zip(map(str, sorted(used)), names, strict=True))
    found["image"] = processor.tokenizer.convert_tokens_to_ids("<|IMAGE_PLACEHOLDER|>")
    print(json.dumps(found | _answers(config, rows)), file=told)


def _answers(config: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """``answers`` of one row of each prompt, or why there are none: ``unanswered``."""
    alone = [row for row in rows if len(row["images"]) == 1 and len(row["messages"]) == 2]
    first = {row["messages"][0]["content"]: row for row in reversed(alone)}
    try:
        from sft.models import paddle_answers

        return {"answers": paddle_answers.costs(config, list(first.values())[-ANSWERED:])}
    except Exception as error:  # said beside what is known of the tokens
        return {"answers": [], "unanswered": f"{type(error).__name__}: {error}"}


def _trained(config: dict[str, Any], path: str, count: int) -> tuple[list[Any], Any]:
    """(what the trainer's dataset makes of each row, None where it leaves it out; its processor)."""
    with starting():
        from paddleformers.cli.hparams import get_train_args
        from paddleformers.datasets.loader import create_dataset
        from paddleformers.datasets.template.template import get_template_and_fix_tokenizer
        from paddleformers.transformers import AutoProcessor, AutoTokenizer

    model, data, *_ = get_train_args({**config, **_ON_CPU, "train_dataset_path": path})
    tokenizer = AutoTokenizer.from_pretrained(model.model_name_or_path)
    processor = AutoProcessor.from_pretrained(model.model_name_or_path, use_fast=data.processor_use_fast)
    settings = {
        **{"tokenizer": tokenizer, "processor": processor, "max_seq_len": data.max_seq_len, "random_seed": 1},
        **{"num_replicas": 1, "rank": 0, "num_samples_each_epoch": count, "random_shuffle": False},
        **{"greedy_intokens": False, "packing": False, "mix_strategy": "concat", "stage": model.stage},
        **{"encode_one_turn": data.encode_one_turn, "use_template": data.use_template, "is_pretraining": False},
        **{"truncate_packing": False, "template_backend": data.template_backend, "template": data.template},
        **{"split_multi_turn": data.split_multi_turn, "dtype": "float32", "dataset_num_proc": 1, "is_valid": True},
        **{"tool_format": None, "default_system": None, "truncation_strategy": data.truncation_strategy},
    }
    settings["template_instance"] = get_template_and_fix_tokenizer(settings)
    dataset = create_dataset(task_group=path, task_group_prob="1.0", sub_dataset_type="messages", **settings)

    def made(example: Any) -> Any:
        try:
            return dataset._process_sft_sequence(example, 1)
        except Exception as error:  # as its own loop does: it says so, and takes the next row
            print(error)
            return None

    return [made(example) for example in islice(dataset.mix_datasets, count)], processor


def _beside(row: dict[str, Any], sequence: Any, processor: Any) -> dict[str, Any]:
    from sft.dataset.pictures import open_as_seen
    from sft.models.questions import Turn, written

    images, turns = iter(row["images"]), []
    for asked, said in zip(row["messages"][::2], row["messages"][1::2], strict=True):
        shown = tuple(Path(next(images)) for _ in range(asked["content"].count("<image>")))
        turns.append(Turn(shown, asked["content"].replace("<image>", ""), said["content"]))
    pictures = [open_as_seen(path) for turn in turns for path in turn.images]
    text = written(processor, tuple(turns))
    asked_ids = processor(images=pictures or None, text=[text], return_tensors="pd")["input_ids"][0].tolist()
    return {
        "prompt": turns[-1].prompt,
        "trained": list(sequence.token_ids),
        # shifted by one: the label of a token is the next token
        "learned": [False, *(label != -100 for label in sequence.labels[:-1])],
        "asked": asked_ids,
        "answer": processor.tokenizer.encode(turns[-1].answer, add_special_tokens=False),
        "end": processor.tokenizer.eos_token_id,
        "turns": len(turns),
    }


if __name__ == "__main__":
    main()

"""What the base's own answers cost where they are read, and what they cost on PaddleFormers' way through a training.

The reader (:mod:`sft.models.recognition`) answers a few rows greedily. The answers become rows of a training set, and
PaddleFormers' own ``run_sft`` (paddleformers/cli/train/sft/workflow.py, 1.2.0) runs on them with the config file of
the training that is about to begin: its arguments, weights, attention, data pipeline, collator and loss. In place of
steps each row's loss is told, and nothing is trained or saved.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sft.environments.light import starting
from sft.models.questions import question
from sft.models.recognition import Recogniser

NEW = 48  # tokens of an answer at most

# What a row is asked of alone, in the order of the file.
_ONE_BY_ONE: Mapping[str, Any] = {
    **{"per_device_train_batch_size": 1, "random_shuffle": False, "max_steps": 1},
    **{"dataloader_num_workers": 0, "pre_alloc_memory": 0},
}


class _Told(Exception):
    """All losses are known: how the trainer is left before its first step."""


def costs(config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each row of one turn: ``prompt``, the base's ``answer``, and mean nats a token: ``read`` and ``trained``.

    Args:
        config: the trainer's config file.
        rows: rows of the messages format, of one image each.
    """
    base, device = Path(config["model_name_or_path"]), "cpu" if config.get("device") == "cpu" else "gpu"
    asked = [(Path(row["images"][0]), row["messages"][0]["content"].replace("<image>", "")) for row in rows]
    reader = Recogniser(base, device)
    answers = [answer.text for _, answer in sorted(reader.answers(asked, batch_size=1, max_new_tokens=NEW))]
    said = [reader.tokens(answer) for answer in answers]
    read = [reader.cost(question(one), ids) for one, ids in zip(asked, said, strict=True)]
    del reader
    made = [_row(row, answer) for row, answer in zip(rows, answers, strict=True)]
    found, trained = [], _trained(config, made)
    for (_, prompt), answer, ids, cost in zip(asked, answers, said, read, strict=True):
        # What the trainer leaves out (an empty answer, a row that is too long) is not among its losses.
        if trained and trained[0][0] == ids:
            found.append({"prompt": prompt, "answer": answer, "read": cost, "trained": trained.pop(0)[1]})
    return found


def _row(row: Mapping[str, Any], answer: str) -> dict[str, Any]:
    asked, said = row["messages"]
    return {**row, "messages": [asked, {**said, "content": answer}]}


def _trained(config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[int, ...], float]]:
    """(tokens that are learned, their mean loss in nats) of row after row, as PaddleFormers' trainer computes it.

    The template has been registered: it has been asked for the rows' tokens in this process.
    """
    with starting():
        import paddle
        from paddleformers.cli.train.sft import workflow
        from paddleformers.cli.train.tuner import run_tuner
        from paddleformers.datasets.template.template import TEMPLATES

    losses: list[tuple[tuple[int, ...], float]] = []

    class Telling(workflow.SFTTrainer):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            model.train()
            with paddle.no_grad(), self.autocast_smart_context_manager():
                loss = self.compute_loss(model, self._prepare_inputs(inputs))
            labels = inputs["labels"].flatten().tolist()
            losses.append((tuple(label for label in labels if label >= 0), float(loss)))
            if len(losses) == len(rows):
                raise _Told
            return loss

    with tempfile.TemporaryDirectory() as name:
        path, plain = Path(name) / "answers.jsonl", workflow.SFTTrainer
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        places = {"train_dataset_path": str(path), "output_dir": f"{name}/out", "logging_dir": f"{name}/logs"}
        more = {**_ONE_BY_ONE, "gradient_accumulation_steps": len(rows), **places}
        known = {key: value for key, value in config.items() if key != "custom_register_path"}  # it is registered once
        vars(TEMPLATES[config["template"]].mm_plugin).pop("image_augmentation", None)  # images as a reader sees them
        workflow.SFTTrainer = Telling
        try:
            run_tuner({**known, **more})
        except _Told:
            return losses
        finally:
            workflow.SFTTrainer = plain
    raise RuntimeError("PaddleFormers did not come to its training")

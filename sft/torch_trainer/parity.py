"""What the trainer makes of a few rows, and what a reader is asked for them: ``python -m … train.yaml rows.jsonl``.

The counterpart of sft/models/paddle_parity.py for the engine transformers. The reader's side is the processor's
own ``apply_chat_template`` with the images, as transformers' documentation and vLLM's OpenAI server use it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from sft.environments.light import starting, without_bitsandbytes
from sft.torch_trainer.rows import IGNORED, Encoder, Row

ANSWERED = 4  # rows that the base answers


def main() -> None:
    """Prints one line of JSON, for :mod:`sft.training.parity`."""
    settings = yaml.safe_load(Path(sys.argv[1]).read_text())
    if not settings["four_bit"]:
        without_bitsandbytes()
    with starting():
        encoder = Encoder(Path(settings["base_model"]))
    rows = [Row.of(line) for line in Path(sys.argv[2]).read_bytes().splitlines()]
    found: dict[str, Any] = {"rows": [_beside(encoder, row) for row in rows]}
    used = sorted({token for row in found["rows"] for name in ("trained", "asked", "answer") for token in row[name]})
    names = encoder.processor.tokenizer.convert_ids_to_tokens(used)
    found |= {"tokens": dict(zip(map(str, used), names, strict=True)), "image": -1}
    print(json.dumps(found | _answers(settings, encoder, rows)))


def _answers(settings: dict[str, Any], encoder: Encoder, rows: list[Row]) -> dict[str, Any]:
    """``answers`` of one row of each prompt, or why there are none: ``unanswered``."""
    first = {row.turns[0][1]: row for row in reversed(rows) if len(row.turns) == 1 == len(row.images)}
    try:
        from sft.torch_trainer import answers

        return {"answers": answers.costs(settings, encoder, list(first.values())[-ANSWERED:])}
    except Exception as error:  # said beside what is known of the tokens
        return {"answers": [], "unanswered": f"{type(error).__name__}: {error}"}


def _beside(encoder: Encoder, row: Row) -> dict[str, Any]:
    encoded = encoder.encode(row)
    return {
        "prompt": row.turns[-1][1],
        "trained": encoded.ids.tolist(),
        "learned": (encoded.labels != IGNORED).tolist(),
        "asked": encoder.asked(row),
        "answer": encoder.processor.tokenizer(row.turns[-1][2], add_special_tokens=False)["input_ids"],
        "end": encoder.processor.tokenizer.eos_token_id,
        "turns": len(row.turns),
    }


if __name__ == "__main__":
    main()

"""The template that PaddleFormers trains with: the prompt of the base model's family, augmentation as asked for.

PaddleFormers 1.2.0 knows the prompt of 0.9B alone, with its augmentation always on; others come by
``custom_register_path``, which runs this file (paddleformers/cli/hparams/parser.py). As upstream's own template for 1.5
(examples/best_practices/PaddleOCR-VL-1.5/region_ocr.md) it differs from the built-in one by what stands behind
"Assistant:", and by the augmentation.

``SFT_ASKS`` is what stands between prompt and answer, as a JSON string; ``SFT_AUGMENT`` is none or template.
"""

from __future__ import annotations

import json
import os
from typing import Any

NAME = "sft_paddleocr_vl"


def register() -> None:
    """Make the template known to PaddleFormers."""
    from paddleformers.datasets.template.formatter import EmptyFormatter, StringFormatter
    from paddleformers.datasets.template.mm_plugin import PaddleOCRVLPlugin, get_mm_plugin, register_mm_plugin
    from paddleformers.datasets.template.template import register_template

    class Plugin(PaddleOCRVLPlugin):  # type: ignore[misc]
        """Images as a reader sees them, unless the augmentation is asked for."""

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            if os.environ["SFT_AUGMENT"] != "template":
                del self.image_augmentation

    register_mm_plugin(name=NAME, plugin_class=Plugin)
    register_template(
        name=NAME,
        format_user=StringFormatter(slots=["User: {{content}}" + json.loads(os.environ["SFT_ASKS"])]),
        format_assistant=StringFormatter(slots=["{{content}}"]),
        format_system=StringFormatter(slots=["{{content}}\n"]),
        format_prefix=EmptyFormatter(slots=["<|begin_of_sentence|>"]),
        chat_sep="<|end_of_sentence|>",
        mm_plugin=get_mm_plugin(name=NAME, image_token="<|IMAGE_PLACEHOLDER|>"),
    )


if __name__ == "custom_template":  # so PaddleFormers calls the file when it runs it
    register()

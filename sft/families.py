"""The families of PaddleOCR-VL: whatever is known of one and differs from another stands here and nowhere else.

Sources: the models' pages on the Hub; PaddleFormers 1.2.0 (datasets/template/template.py, and the template of its guide
examples/best_practices/PaddleOCR-VL-1.5/region_ocr.md); ms-swift (model/models/baidu.py: 1.6 has the template of 1.5);
PaddleOCR's doc_parser (pipeline_version, vl_rec_model_name). 1.5 and 1.6 themselves have not been seen to train here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

BEGIN, IMAGE = "<|begin_of_sentence|>", "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"
Measure = Literal["text", "table", "formula", "chart", "spotting", "json"]


@dataclass(frozen=True)
class Task:
    """What a model is asked for.

    Attributes:
        name: as ``--task`` says it, and the part of the held-out set that is scored by itself.
        prompt: the question.
        measure: what answers are, and so how they are judged (see :mod:`sft.metrics.judged`).
        required: keys that an answer in JSON has.
    """

    name: str
    prompt: str
    measure: Measure = "text"
    required: tuple[str, ...] = ()


ELEMENTS = (
    Task("ocr", "OCR:"),
    Task("table", "Table Recognition:", "table"),  # OTSL
    Task("formula", "Formula Recognition:", "formula"),  # LaTeX
    Task("chart", "Chart Recognition:", "chart"),  # cells between |
)
LATER = (Task("spotting", "Spotting:", "spotting"), Task("seal", "Seal Recognition:"))
TASKS = (*ELEMENTS, *LATER)  # of any family


@dataclass(frozen=True)
class Family:
    """One generation of the model.

    Attributes:
        name: as ``base_model.family`` says it.
        repositories: on the HF Hub.
        asks: what stands between a prompt and its answer; with another one a model is trained on a question that nobody
            asks it later.
        tasks: that it was trained for.
        locations: does its tokenizer have ``<|LOC_0|>`` to ``<|LOC_1000|>``?
        min_pixels, max_pixels: its processor's bounds of an image.
        layout: the model that finds a page's elements, a folder in its repository.
        parser: what PaddleOCR's parser calls it; ``pipeline`` is the version of the parser's pipeline.
        not_by: engines that do not train it, and why.
    """

    name: str
    repositories: tuple[str, ...]
    asks: str
    tasks: tuple[Task, ...]
    locations: bool
    min_pixels: int
    max_pixels: int
    layout: str
    parser: str
    pipeline: str
    not_by: Mapping[str, str]

    def prompt(self, text: str, images: int = 1) -> str:
        """What a reader is asked, by the family's chat template."""
        return f"{BEGIN}User: {IMAGE * images}{text}{self.asks}"


V0_9B = Family(
    "0.9B",
    ("PaddlePaddle/PaddleOCR-VL",),
    asks="\nAssistant: ",
    tasks=ELEMENTS,
    locations=False,
    min_pixels=147_384,
    max_pixels=2_822_400,
    layout="PP-DocLayoutV2",
    parser="PaddleOCR-VL-0.9B",
    pipeline="v1",
    not_by={},
)
_NEWER = {"erniekit": "it asks with the prompt of 0.9B, whatever the model's chat template says"}
V1_5 = Family(
    "1.5",
    ("PaddlePaddle/PaddleOCR-VL-1.5",),
    asks="\nAssistant:\n",
    tasks=TASKS,
    locations=True,
    min_pixels=112_896,
    max_pixels=1_003_520,
    layout="PP-DocLayoutV3",
    parser="PaddleOCR-VL-1.5-0.9B",
    pipeline="v1.5",
    not_by=_NEWER,
)
V1_6 = replace(  # but for the names as 1.5, of which it has the architecture and the template
    V1_5,
    name="1.6",
    repositories=("PaddlePaddle/PaddleOCR-VL-1.6",),
    parser="PaddleOCR-VL-1.6-0.9B",
    pipeline="v1.6",
)
# The tiny model for the CPU that ships with the project (sft/smoke/tiny.py).
TINY = replace(V0_9B, name="tiny", repositories=(), min_pixels=28 * 28, max_pixels=24 * 28 * 28)
FAMILIES = {family.name: family for family in (V0_9B, V1_5, V1_6)}


def of_repository(repo: str) -> Family | None:
    """The family whose repository it is; None for any other."""
    known = {name.lower(): family for family in FAMILIES.values() for name in family.repositories}
    return known.get(repo.lower())


def differs(family: Family, template: str) -> tuple[str, str] | None:
    """(what the family asks, what a chat template asks) where they differ in what a reader is asked.

    Args:
        template: ``chat_template.jinja`` of a model, rendered without access to anything else.
    Raises:
        jinja2.TemplateError: it is none.
    """
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    content = [{"type": "image"}, {"type": "text", "text": ELEMENTS[0].prompt}]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": "user", "content": content}]
    asked = environment.from_string(template).render(messages=messages, add_generation_prompt=True)
    wanted = family.prompt(ELEMENTS[0].prompt)
    return None if asked == wanted else (wanted, asked)

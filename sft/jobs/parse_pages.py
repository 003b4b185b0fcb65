"""Job ``parse_pages``: PaddleOCR's document parser reads whole pages, layout and all, with a model of ours.

What ``paddleocr doc_parser`` does: a layout model finds the page's elements, PaddleOCR-VL reads each, and the page is
put together as Markdown. Source: PaddleOCR 3.7, ``paddleocr.PaddleOCRVL``, which knows all three families.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sft.context import Context
from sft.errors import InputError, IntegrityError
from sft.families import V0_9B
from sft.jobs.base import Job
from sft.jobs.infer import found_images
from sft.jobs.placed import found_model


class ParsePagesArgs(BaseModel):
    """``model``, ``images`` and ``gpu`` as in :class:`sft.jobs.infer.InferArgs`.

    ``layout`` is the layout model's folder on the models volume; empty: PaddleOCR fetches it. ``pipeline`` and
    ``parser`` are what PaddleOCR calls the family's pipeline and model (see :mod:`sft.families`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    images: tuple[str, ...]
    device: str
    layout: str = ""
    gpu: str = "cpu"
    pipeline: str = V0_9B.pipeline
    parser: str = V0_9B.parser


def parse_pages(args: ParsePagesArgs, context: Context) -> dict[str, Any]:
    """Read the pages.

    Returns: ``{"pages": [{"markdown": text, "layout": PaddleOCR's own result} for each image, in order]}``.
    Raises:
        InputError: the model or an image is not there, or PaddleOCR is not installed.
        IntegrityError: the model cannot be loaded by PaddleOCR.
    """
    images = found_images(args.images, context)
    layout = str(context.volumes.models / args.layout) if args.layout else None
    with found_model(args.model, context) as model:
        pipeline, read = _pipeline(model, args, layout), []
        for number, image in enumerate(images, 1):
            (result,) = pipeline.predict(str(image))
            read.append({"markdown": result.markdown["markdown_texts"], "layout": result.json})
            context.event("evaluate", model="pages", rows=len(images), done=number)
    return {"pages": read}


def _pipeline(model: Path, args: ParsePagesArgs, layout: str | None) -> Any:
    try:
        from paddleocr import PaddleOCRVL
    except ImportError as error:
        remedy = (
            'use --task ocr, compute: modal, or pip install "paddleocr[doc-parser]==3.7.0" in an environment of its own'
        )
        raise InputError(f"whole pages need PaddleOCR's document parser: {error}", remedy=remedy) from error
    try:
        return PaddleOCRVL(
            pipeline_version=args.pipeline,
            vl_rec_model_name=args.parser,
            vl_rec_model_dir=str(model),
            device=args.device,
            layout_detection_model_dir=layout,
        )
    except Exception as error:  # whatever PaddleX raises; it is kept as the cause
        remedy = "sft promote checks the files that it reads: inference.yml, tokenizer.model, config.json"
        raise IntegrityError(f"PaddleOCR cannot load the model: {error}", where=str(model), remedy=remedy) from error


PARSE_PAGES = Job("parse_pages", ParsePagesArgs, parse_pages, billed=True)

"""The arguments of the jobs that let models read rows without a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sft.config import RunConfig
from sft.jobs.compare import CompareArgs
from sft.jobs.doubt import DoubtArgs
from sft.jobs.placed import Named
from sft.jobs.placed_rows import RowsPlace
from sft.jobs.predict import PredictArgs, Reading

EVERY = 10**9  # rows: more than any file has


def compare_args(
    config: RunConfig,
    title: str,
    models: Sequence[Named],
    identities: Sequence[str],
    rows: RowsPlace,
    fingerprint: str,
) -> CompareArgs:
    """Arguments of the job compare.

    Args:
        title: what people call the rows.
        identities: what identifies each model.
        fingerprint: of the rows' content.
    """
    return CompareArgs(
        title=title,
        models=tuple(models),
        identities=tuple(identities),
        rows=rows,
        fingerprint=fingerprint,
        **_where(config),
        **config.evaluate.model_dump(exclude={"shards", "dev_rows"}),
    )


def doubt_args(
    config: RunConfig,
    title: str,
    models: Sequence[Named],
    identities: Sequence[str],
    rows: RowsPlace,
    fingerprint: str,
    odds: float,
    max_rows: int,
) -> DoubtArgs:
    """Arguments of the job doubt.

    Args:
        title: what people call the rows.
        models: the tuned one and the base; ``identities``: what identifies them.
        fingerprint: of the rows' content.
        odds: how many times likelier something else has to be.
        max_rows: rows at most; 0: all.
    """
    return DoubtArgs(
        title=title,
        model=models[0],
        base=models[1],
        identities=(identities[0], identities[1]),
        rows=rows,
        fingerprint=fingerprint,
        odds=odds,
        max_rows=max_rows or EVERY,
        **_where(config),
        **config.evaluate.model_dump(exclude={"shards", "dev_rows", "max_rows"}),
    )


def predict_args(
    args: Reading, models: Iterable[Named], rows: RowsPlace, shards: int, key: str
) -> dict[str, PredictArgs]:
    """Key → share into which the reading is cut; none where the evaluation reads everything itself, as vLLM cannot.

    Args:
        key: of the evaluation that the answers are for.
    """
    if shards == 1 and args.backend != "vllm":
        return {}
    reading = args.model_dump(include=set(Reading.model_fields))
    return {
        f"predict-{key}-{model.label}-{i}of{shards}": PredictArgs(
            **reading, model=model, rows=rows, shard=i, shards=shards
        )
        for model in models
        for i in range(shards)
    }


def _where(config: RunConfig) -> dict[str, Any]:
    """On what is read, and with which prompts."""
    device = "cpu" if config.on_cpu else "gpu"
    return {"device": device, "gpu": config.reads_on, "prompts": config.dataset.prompts}

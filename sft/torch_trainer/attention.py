"""Attention within rows: several rows lie behind one another in a pass, and none sees another one.

Each row goes through torch's ``scaled_dot_product_attention`` alone: no mask is made, whose size would be the square of
a pass's tokens, and on a GPU the kernels that take none are used. transformers does the same with the images of the
vision encoder. On a GPU one kernel may take all rows at once (:mod:`sft.torch_trainer.kernel`). flash_attn's kernels,
where they are installed, find the rows by their places themselves.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BY_ROW = "sdpa_by_row"


def register() -> str:
    """Make the one that works row by row known to transformers; returns its name."""
    import transformers

    transformers.AttentionInterface.register(BY_ROW, by_row)
    transformers.AttentionMaskInterface.register(BY_ROW, no_mask)
    return BY_ROW


def no_mask(*args: Any, **named: Any) -> None:
    return None


def by_row(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    position_ids: torch.Tensor | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers.

    Args:
        query, key, value: (1, heads, tokens, width).
        position_ids: (1, tokens), each token's place in its row; None: all is one row, or one image.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if position_ids is None:
        return sdpa_attention_forward(module, query, key, value, None, **named)  # type: ignore[no-any-return]
    parts = zip(*(torch.split(tensor, sizes(position_ids), dim=2) for tensor in (query, key, value)), strict=True)
    found = [sdpa_attention_forward(module, q, k, v, None, is_causal=True, **named)[0] for q, k, v in parts]
    return torch.cat(found, dim=1), None


def sizes(position_ids: torch.Tensor) -> list[int]:
    """Tokens of each row; asked of the device once for each pass, not once for each layer."""
    known: list[int] | None = getattr(position_ids, "sft_rows", None)
    if known is None:
        starts = [*(position_ids[0] == 0).nonzero()[:, 0].tolist(), position_ids.shape[1]]
        known = [end - start for start, end in itertools.pairwise(starts)]
        position_ids.sft_rows = known
    return known

"""One call of a kernel for all rows of a pass, and for all images: torch's own, no package besides.

``torch.nn.attention.varlen`` (torch 2.10 and later; flash attention inside) takes tokens in half precision on a GPU and
the bounds of the rows. It is used only after it has agreed, on the very card, with attention row by row: forward and
backward, on a few rows. Whatever it answers or refuses there, the training goes on without it.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sft.torch_trainer.attention import BY_ROW, no_mask, sizes

if TYPE_CHECKING:
    import torch

# transformers hands over the bounds of all images together, instead of image by image, where an attention's name has
# "flash" in it (is_flash_attention_requested in utils/generic.py, 5.17 and 5.24).
NAME = "flash_by_row"
# (heads, heads of keys, width, causal): the text model's and the vision encoder's of PaddleOCR-VL
SHAPES = ((16, 2, 128, True), (16, 16, 72, False))
ROWS = (1, 70, 129, 33)  # tokens
FAR = 0.03  # of the largest value: four times the step of bfloat16 (2 ** -7)


def quicken(model: Any, *, gpu: bool, half: bool) -> bool:
    """Let a model that goes row by row use the kernel, where there is one and it agrees; did it?

    It is switched behind transformers' back, which looks for a package under every name that has "flash" in it.

    Args:
        half: is it computed in bfloat16 or float16?
    """
    import torch
    import transformers

    if not gpu or not half or model.config._attn_implementation != BY_ROW:
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn

        agrees = all(agree(varlen_attn, shape, "cuda", torch.bfloat16) for shape in SHAPES)
        said = "it does not agree with attention row by row"
    except Exception as error:  # a kernel that this card or torch lacks says so in its own way
        agrees, said = False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if not agrees:
        print(f"attention row by row, not all rows at once: {said}", flush=True)
        return False
    transformers.AttentionInterface.register(NAME, variable)
    transformers.AttentionMaskInterface.register(NAME, no_mask)
    for module in model.modules():
        if getattr(module, "config", None) is not None:
            module.config._attn_implementation_internal = NAME
    return True


def agree(kernel: Callable[..., Any], shape: tuple[int, int, int, bool], device: str, dtype: torch.dtype) -> bool:
    """Does a kernel give a few rows the values and the gradients that each of them has alone?

    Args:
        kernel: as ``varlen_attn``.
        shape: (heads, heads of keys, width, causal).
    """
    import torch

    heads, of_keys, width, causal = shape
    dice = torch.Generator().manual_seed(0)
    bounds = [0, *itertools.accumulate(ROWS)]

    def drawn(count: int) -> torch.Tensor:
        return torch.randn(1, count, bounds[-1], width, generator=dice).to(device, dtype)

    made, wanted = [drawn(count) for count in (heads, of_keys, of_keys)], drawn(heads).transpose(1, 2)

    def told(attend: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        given = [tensor.clone().requires_grad_() for tensor in made]
        found = attend(*given)
        found.backward(wanted)
        return [found.detach(), *(tensor.grad for tensor in given if tensor.grad is not None)]

    def alone(*given: torch.Tensor) -> torch.Tensor:
        parts = zip(*(torch.split(_spread(tensor, heads), list(ROWS), dim=2) for tensor in given), strict=True)
        attend = torch.nn.functional.scaled_dot_product_attention
        return torch.cat([attend(q, k, v, is_causal=causal) for q, k, v in parts], dim=2).transpose(1, 2)

    def together(*given: torch.Tensor) -> torch.Tensor:
        at = torch.tensor(bounds, dtype=torch.int32, device=device)
        return _called(kernel, *given, bounds=at, longest=max(ROWS), causal=causal)

    pairs = zip(told(alone), told(together), strict=True)
    return all(bool((a - b).abs().max() <= FAR * a.abs().max()) for a, b in pairs)  # not where one is not a number


def variable(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    position_ids: torch.Tensor | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: all rows, or all images, in one call.

    Args:
        query, key, value: (1, heads, tokens, width).
        position_ids: (1, tokens), each token's place in its row.
        cu_seq_lens_q, max_length_q: the bounds of images, (images + 1), and the patches of the largest.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    if cu_seq_lens_q is None:
        rows = sizes(position_ids) if position_ids is not None else [query.shape[2]]
        bounds = torch.tensor([0, *itertools.accumulate(rows)], dtype=torch.int32, device=query.device)
        longest = max(rows)
    else:
        bounds, longest = cu_seq_lens_q.to(torch.int32), int(max_length_q or 0)
    half = query.dtype if query.dtype != torch.float32 else torch.get_autocast_dtype("cuda")
    causal = bool(getattr(module, "is_causal", False))
    given = (tensor.to(half) for tensor in (query, key, value))
    return _called(varlen_attn, *given, bounds=bounds, longest=longest, causal=causal), None


def _called(
    kernel: Callable[..., Any], *given: torch.Tensor, bounds: torch.Tensor, longest: int, causal: bool
) -> torch.Tensor:
    """Values of (1, tokens, heads, width); the argument that says "causal" has changed its name behind torch 2.11."""
    query, key, value = (_spread(tensor, given[0].shape[1])[0].transpose(0, 1).contiguous() for tensor in given)
    windowed = "window_size" in inspect.signature(kernel).parameters
    named: dict[str, Any] = {"window_size": (-1, 0 if causal else -1)} if windowed else {"is_causal": causal}
    found: torch.Tensor = kernel(query, key, value, bounds, bounds, longest, longest, **named)
    return found[None]


def _spread(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """(1, heads of keys, tokens, width) for each head of queries."""
    return tensor.repeat_interleave(heads // tensor.shape[1], dim=1)

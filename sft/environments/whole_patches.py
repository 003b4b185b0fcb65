"""PaddleOCR-VL's first layer on a CPU: a convolution that sees each patch alone, computed as the product that it is.

The layer's kernel and the patches that it is given are both 14 x 14 (PaddleOCRVisionEmbeddings of PaddleFormers 1.2.0,
paddleformers/transformers/paddleocr_vl/modeling.py). Paddle's convolution takes 19 to 27 times as long for them on a
CPU as the product does (``python -m benchmarks patches``): 6 to 9 % of a training step of the tiny model, and a third
where other processes have the processors, as its threads wait for each other. Both sum the same numbers, in another
order.
"""

from __future__ import annotations

from typing import Any


def as_products() -> None:
    """From now on a Conv2D of this process whose kernel covers its whole input is a product. For CPUs only."""
    import paddle

    plain = paddle.nn.Conv2D.forward
    if getattr(plain, "of_whole_patches", False):
        return

    def forward(self: Any, x: Any) -> Any:
        if not _alone(self, x):
            return plain(self, x)
        count, channels = x.shape[0], self.weight.shape[0]
        weight = self.weight.reshape([channels, -1]).transpose([1, 0])
        return paddle.nn.functional.linear(x.reshape([count, -1]), weight, self.bias).reshape([count, channels, 1, 1])

    forward.of_whole_patches = True  # type: ignore[attr-defined]
    paddle.nn.Conv2D.forward = forward


def _alone(layer: Any, x: Any) -> bool:
    """Does the kernel cover the input, with nothing around it?"""
    whole = list(x.shape[1:]) == list(layer.weight.shape[1:])  # in particular one group
    plain = layer._padding in ("VALID", 0) and layer._data_format == "NCHW" and set(layer._dilation) == {1}
    return whole and plain

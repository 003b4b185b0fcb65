"""How much faster is the product that stands for Paddle's convolution on a CPU (sft/environments/whole_patches)?

The tiny model's first layer, forwards and backwards, on the patches of the demo's batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import Figure, turns
from benchmarks.sizes import size
from sft.environments.whole_patches import as_products
from sft.smoke import tiny

PATCHES = size(2000, 500)
SIDE, GOAL = 14, 5.0


def figures() -> Iterator[Figure]:
    """Both in turns, in one process."""
    import paddle

    paddle.set_device("cpu")
    layer = paddle.nn.Conv2D(3, tiny.VISION_WIDTH, SIDE, stride=SIDE, padding="VALID")
    patches = paddle.rand([PATCHES, 3, SIDE, SIDE])
    as_products()  # a benchmark before this one may have done so: the reference is not the layer

    def step(forward: Callable[[], Any]) -> None:
        forward().sum().backward()
        layer.clear_gradients()

    def plain() -> Any:
        return paddle.nn.functional.conv2d(patches, layer.weight, layer.bias, stride=SIDE)

    taken = turns(lambda: step(lambda: layer(patches)), lambda: step(plain), repeats=9)
    rate, other = taken.rate(PATCHES)
    question = f"{PATCHES} patches through the first layer and back, as a product"
    yield Figure(question, rate, other, "patches/s (Conv2D)", f"≥ {GOAL:g}", rate >= GOAL * other, taken.spread())

"""The patch embedding on a CPU: as fast as a product, and equal to the convolution that it stands for."""

from __future__ import annotations

import json
import subprocess
import sys

# Paddle is not imported into pytest's process.
BODY = """
import json
import numpy
import paddle
from sft.environments.whole_patches import as_products

layers = {
    "covers": (paddle.nn.Conv2D(3, 24, 14, stride=14, padding="VALID"), [50, 3, 14, 14]),
    "no bias": (paddle.nn.Conv2D(3, 24, 14, bias_attr=False), [50, 3, 14, 14]),
    "a larger picture": (paddle.nn.Conv2D(3, 24, 14, stride=14, padding="VALID"), [2, 3, 28, 42]),
    "a border": (paddle.nn.Conv2D(3, 24, 14, padding=1), [4, 3, 14, 14]),
    "groups": (paddle.nn.Conv2D(4, 8, 14, groups=2), [4, 4, 14, 14]),
    "channels last": (paddle.nn.Conv2D(14, 8, [14, 3], data_format="NHWC"), [4, 14, 3, 14]),
}
used = []
linear = paddle.nn.functional.linear
paddle.nn.functional.linear = lambda *args: used.append(name) or linear(*args)

def run(layer, shape):
    paddle.seed(1)
    x = paddle.rand(shape)
    x.stop_gradient = False
    y = layer(x)
    (y * paddle.arange(y.size, dtype="float32").reshape(y.shape)).sum().backward()
    seen = [y, x.grad, layer.weight.grad, *([layer.bias.grad] if layer.bias is not None else [])]
    found = [value.numpy().copy() for value in seen]
    layer.clear_gradients()
    return found

found = {}
for name, one in layers.items():
    found[name] = run(*one)
assert not used
as_products()
as_products()
apart = {}
for name, one in layers.items():
    again = run(*one)
    assert [a.shape for a in again] == [a.shape for a in found[name]]
    apart[name] = max(float(abs(a - b).max() / abs(b).max()) for a, b in zip(again, found[name]))
print(json.dumps({"apart": apart, "used": sorted(set(used))}))
"""


def test_a_kernel_that_covers_its_input_is_a_product_and_no_other_one() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", BODY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["used"] == ["covers", "no bias"]
    assert max(said["apart"].values()) < 1e-5

"""A kernel that takes all rows at once is used only where it agrees with attention row by row.

What computes it here is written from torch's documentation of ``torch.nn.attention.varlen.varlen_attn`` (2.11): packed
(tokens, heads, width), bounds as running sums, each row for itself, scaled by the root of the width. The kernel itself
has no CPU version.
"""

from __future__ import annotations

from tests.sft.torch_trainer.torch_python import installed, says

pytestmark = installed

BODY = """
import json, torch, types
from sft.torch_trainer import kernel
def plain(q, k, v, begins, ends, longest, also, *, is_causal):
    rows = []
    for a, b in zip(begins.tolist()[:-1], begins.tolist()[1:]):
        scores = torch.einsum("qhw,khw->hqk", q[a:b], k[a:b]) / q.shape[-1] ** 0.5
        if is_causal:
            scores = scores.masked_fill(torch.ones(b - a, b - a).triu(1).bool(), float("-inf"))
        rows.append(torch.einsum("hqk,khw->qhw", scores.softmax(-1), v[a:b]))
    return torch.cat(rows)
def windowed(*given, window_size):
    return plain(*given, is_causal=window_size == (-1, 0))
def sees_all(*given, is_causal):
    return plain(*given, is_causal=False)
def one_row(q, k, v, begins, *given, is_causal):
    return plain(q, k, v, begins[[0, -1]], *given, is_causal=is_causal)
def learns_nothing(q, k, v, *given, is_causal):
    return plain(q, k.detach() + 0 * k, v, *given, is_causal=is_causal)
def no_number(*given, is_causal):
    return plain(*given, is_causal=is_causal) * float("nan")
found = {act.__name__: [kernel.agree(act, shape, "cpu", torch.float32) for shape in kernel.SHAPES]
         for act in (plain, windowed, sees_all, one_row, learns_nothing, no_number)}
model = types.SimpleNamespace(config=types.SimpleNamespace(_attn_implementation=kernel.BY_ROW))
print(json.dumps(found | {"quickened": kernel.quicken(model, gpu=True, half=True)}))
"""


def test_a_kernel_that_is_wrong_in_any_way_is_not_used() -> None:
    found = says(BODY)
    assert found["plain"] == found["windowed"] == [True, True]
    assert found["sees_all"] == [False, True], "the text model is causal"
    assert not any(found["one_row"] + found["learns_nothing"] + found["no_number"])
    assert found["quickened"] is False, "there is no card here, and the training goes on"

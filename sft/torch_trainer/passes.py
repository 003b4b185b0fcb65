"""Forward passes: which rows each of them holds, planned for a whole training, and put together without padding.

The plan follows from lengths, seed and settings alone. So a training that is resumed goes on with the very rows that it
would have had, and several GPUs take turns through one plan.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sft.torch_trainer.rows import IGNORED, Encoded, Encoder, Row, Unusable

if TYPE_CHECKING:
    import torch

Tell = Callable[[str], None]


def plan(lengths: Sequence[int], passes: int, *, budget: int, rows: int, seed: int) -> list[array[int]]:
    """So many passes, each of row numbers: filled row after row until the next one would exceed the budget.

    All rows come once before any comes again; each time in another order.

    Args:
        lengths: tokens of each row; rows longer than ``budget`` are in no pass.
        budget: tokens of a pass at most.
        rows: rows of a pass at most.
    Raises:
        Unusable: no row fits into a pass.
    """
    planned: list[array[int]] = []
    current, filled = array("q"), 0
    for number in _stream([n for n, length in enumerate(lengths) if length <= budget], seed):
        if current and (filled + lengths[number] > budget or len(current) == rows):
            planned.append(current)
            if len(planned) == passes:
                break
            current, filled = array("q"), 0
        current.append(number)
        filled += lengths[number]
    return planned


def _stream(numbers: list[int], seed: int) -> Iterator[int]:
    if not numbers:
        raise Unusable("every row is longer than max_seq_len, or cannot be read")
    turn = 0
    while True:
        order = numbers.copy()
        random.Random(f"{seed}/{turn}").shuffle(order)
        yield from order
        turn += 1


class TrainingSet:
    """The rows of a file in the messages format, and the passes planned over them: item ``n`` is pass ``n``.

    The file is read row by row when a pass is made, in the processes that load data.
    """

    def __init__(self, path: Path, encoder: Encoder, longest: int, tell: Tell) -> None:
        """
        Args:
            longest: tokens of a row at most; longer ones are told and left out, as are those that cannot be read.
        """
        self.path, self.encoder, self.longest, self.tell = path, encoder, longest, tell
        self.most = 0  # rows of a pass
        self.offsets, self.lengths = array("q"), array("q")
        self.passes: list[array[int]] = []
        with path.open("rb") as file:
            at = 0
            for line in file:
                self.offsets.append(at)
                self.lengths.append(self._measured(line))
                at += len(line)

    def _measured(self, line: bytes) -> int:
        number = len(self.lengths)
        try:
            length = self.encoder.length(Row.of(line))
        except (OSError, ValueError) as error:
            self.tell(f"[LEFT OUT] row {number}: cannot be read: {' '.join(str(error).split())}")
            return 1 << 60
        if length > self.longest:
            self.tell(f"[LEFT OUT] row {number}: longer than max_seq_len: {length} tokens")
        return length

    def plan(self, passes: int, *, rows: int, seed: int) -> None:
        """Passes of up to ``longest`` tokens; see :func:`plan`."""
        self.most = rows
        self.passes = plan(self.lengths, passes, budget=self.longest, rows=rows, seed=seed)

    def __len__(self) -> int:
        return len(self.passes)

    def __getitem__(self, number: int) -> list[Encoded]:
        for tried in range(len(self.passes)):  # a pass whose rows have all become unreadable is another one's again
            with self.path.open("rb") as file:
                found = [self._encoded(file, row) for row in self.passes[(number + tried) % len(self.passes)]]
            if usable := [row for row in found if row is not None]:
                return usable
        raise Unusable("no row can be read")

    def _encoded(self, file: Any, number: int) -> Encoded | None:
        file.seek(self.offsets[number])
        try:
            return self.encoder.encode(Row.of(file.readline()))
        except (OSError, ValueError) as error:
            self.tell(f"[LEFT OUT] row {number}: cannot be read: {' '.join(str(error).split())}")
            return None


def together(passes: Sequence[Sequence[Encoded]]) -> dict[str, torch.Tensor]:
    """The inputs of one forward pass: its rows behind one another, without padding.

    ``input_ids``: (1, tokens). ``position_ids``: (4, 1, tokens), first each token's place in its row, by which
    attention is kept within rows, then the three of the rotary embedding. ``logits_to_keep``: (answer tokens), the
    places whose next token is learned: nothing else is multiplied with the vocabulary. ``labels``: (1, 1 + answer
    tokens), the tokens to come, behind one that is ignored: the Trainer counts what is learned from the second one on.
    """
    import torch

    (rows,) = passes
    places = torch.cat([torch.arange(len(row.ids)) for row in rows])
    positions = torch.cat([row.positions for row in rows], dim=1)
    labels = torch.cat([row.labels for row in rows])
    learned = (labels[1:] != IGNORED) & (places[1:] > 0)  # the first token of a row is not said by the row before
    keep = learned.nonzero()[:, 0]
    return {
        "input_ids": torch.cat([row.ids for row in rows])[None],
        "position_ids": torch.cat([places[None], positions])[:, None],
        "pixel_values": torch.cat([row.patches for row in rows]),
        "image_grid_thw": torch.cat([row.grid for row in rows]),
        "labels": torch.cat([torch.tensor([IGNORED]), labels[1:][keep]])[None],
        "logits_to_keep": keep,
    }


def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Mean cross entropy (nats per token) over all answer tokens of an optimiser step; see :func:`together`."""
    from torch.nn.functional import cross_entropy

    wanted = labels[0, 1:]
    total: torch.Tensor = cross_entropy(outputs.logits[0].float(), wanted, reduction="sum")
    return total / (len(wanted) if num_items_in_batch is None else num_items_in_batch)

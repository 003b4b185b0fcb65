"""Step validate-dataset, for a dataset that lies on the data volume: it was validated when it was put there."""

from __future__ import annotations

from compute.base import Compute
from runs.results import read_stored
from sft.dataset.packing import Amount
from sft.jobs.placed_rows import DatasetPlace
from tasks.step import step
from tasks.telling import tell


@step(
    "validate-dataset",
    "Read the record of a dataset on the data volume, written once all rows have been validated",
)
def stored_dataset(
    volume: str, compute: Compute, max_seq_len: int, dev_share: float = 0.0, part: float = 1.0
) -> tuple[DatasetPlace, Amount]:
    """(the dataset's place, what its training set amounts to). Rows that seem longer than ``max_seq_len`` are told.

    Raises:
        DatasetError: there is no such dataset, or it was never finished.
    """
    place, amount = read_stored(volume, compute, dev_share, part)
    number = f"{amount.rows} training rows"
    tell(f"dataset {place.fingerprint[:12]} on the data volume: {number}, validated when it came there")
    _tell_of_long(amount, max_seq_len)
    return place, amount


@step("validate-dataset", "Take the dataset as it was validated and uploaded where the hosted run was started")
def given_dataset(place: DatasetPlace, amount: Amount, max_seq_len: int) -> tuple[DatasetPlace, Amount]:
    """What the run was started with."""
    number = f"{amount.rows} training rows"
    tell(f"dataset {place.fingerprint[:12]}: {number}, validated and uploaded where the run was started")
    _tell_of_long(amount, max_seq_len)
    return place, amount


def _tell_of_long(amount: Amount, max_seq_len: int) -> None:
    if long := sum(count for tokens, count in amount.tokens.items() if tokens > max_seq_len):
        tell(f"about {long} of them are longer than train.max_seq_len: the trainer leaves them out")

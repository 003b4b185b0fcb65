"""Forward passes of an epoch: packs as ERNIEKit makes them, and the steps that follow."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sft.config import load
from sft.dataset.packing import Amount, looked_at, packs
from sft.dataset.tokens import Limits
from sft.jobs.placed_rows import DatasetPlace
from sft.plan import train_args, train_spec
from sft.smoke import tiny
from sft.store.contents import Base
from tests.conftest import Dataset


def loaded(lengths: list[int], size: int, max_seq_len: int, passes: int) -> int:
    """Packs that ERNIEKit's loader yields from rows that come again and again (MMDataloader.__iter__)."""
    yielded, held, used = 0, 0, 0
    for _ in range(passes):
        for tokens in lengths:
            if used + tokens > max_seq_len or held == size:
                yielded, held, used = yielded + 1, 0, 0
            held, used = held + 1, used + tokens
    return yielded


def test_rows_that_all_fit_are_counted_by_their_number() -> None:
    assert packs(Amount(29_632, Counter({200: 29_632})), 8, 16384) == 3704, "the Bengali set"
    assert packs(Amount(100), 8, 16384) == 12.5, "nobody has counted their tokens"


def test_three_rows_a_pack_where_three_fit() -> None:
    assert packs(Amount(30, Counter({400: 30})), 8, 1200) == 10


def test_rows_that_are_too_long_are_in_no_pack() -> None:
    assert packs(Amount(50, Counter({400: 30, 2000: 20})), 8, 1200) == 10


@given(st.lists(st.integers(20, 1200), min_size=500, max_size=800), st.integers(1, 8), st.integers(0, 9))
def test_as_many_packs_as_the_loader_yields_whatever_the_order(lengths: list[int], size: int, seed: int) -> None:
    ours = packs(Amount(len(lengths), Counter(lengths)), size, 1200)
    random.Random(seed).shuffle(lengths)
    assert ours * 20 == pytest.approx(loaded(lengths, size, 1200, 20), rel=0.06)


def test_many_rows_are_as_few_that_stand_for_them() -> None:
    lengths = Counter({100: 1000, 700: 500, 1100: 200})
    often = Counter({tokens: 5000 * count for tokens, count in lengths.items()})
    few, many = packs(Amount(1700, lengths), 8, 1200), packs(Amount(8_500_000, often), 8, 1200)
    assert many == pytest.approx(5000 * few, rel=0.02)


def test_two_epochs_train_every_row_twice_whatever_its_length() -> None:
    config = load("full", ["train.max_seq_len=1200", "train.gradient_accumulation_steps=4"]).config
    amount = Amount(4000, Counter({400: 4000}))
    steps = train_spec(config, amount).max_steps
    assert steps * 4 * 3 == pytest.approx(2 * 4000, abs=12), "three rows a pack, four packs a step"
    held = {**config.model_dump(), "engine": "paddleformers"}
    assert train_spec(type(config).model_validate(held), amount).max_steps == 2 * 4000 / (8 * 4), "eight rows, whatever"


def test_the_identity_follows_the_steps() -> None:
    config, base = load("full", ["train.max_seq_len=1200"]).config, Base(name="b", identity="b", files={})
    place = DatasetPlace(
        root="/", train="t", held_out="h", train_format="erniekit", held_out_format="erniekit", fingerprint="f"
    )

    def identity(tokens: int) -> str:
        return train_args(config, place, Amount(999, Counter({tokens: 999})), base).identity

    assert identity(100) == identity(110) != identity(400)


def test_stored_pairs_come_back() -> None:
    amount = Amount(3, Counter({7: 2, 5: 1}))
    assert Amount.of_pairs(3, amount.as_pairs()) == amount


def test_the_rate_of_a_text_is_measured_on_its_rows(tmp_path: Path, dataset: Dataset) -> None:
    tiny.write_model_files(tmp_path)
    limits = Limits.of_model(tmp_path, 512)
    rows = [dataset.row("./a.png", "7" * (1 + i % 50)) for i in range(2000)]
    path = dataset.write("t.jsonl", rows)
    assert looked_at(path, "erniekit", limits).text_bytes == 100, "each character is a token of the tiny model"
    packed = path.with_name("t.jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert looked_at(packed, "erniekit", limits).text_bytes == 100
    assert looked_at(path, "erniekit", replace(limits, tokenizer="")) == (300, {})

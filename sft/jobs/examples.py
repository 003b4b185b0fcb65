"""A typical training, to ask an engine what it would write."""

from __future__ import annotations

from sft.engines.base import TrainSpec

SPEC = TrainSpec(
    device="gpu",
    max_steps=926,
    epochs=2,
    warmup_steps=10,
    learning_rate=5e-6,
    min_learning_rate=5e-7,
    lr_scheduler="cosine",
    batch_size=8,
    gradient_accumulation_steps=8,
    max_seq_len=16384,
    weight_decay=0.1,
    seed=23,
    precision="bf16",
    save_steps=200,
    save_total_limit=5,
    logging_steps=1,
)

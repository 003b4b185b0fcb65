"""Hyperparameters of a training, as a profile gives them."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sft.engines.base import TrainSpec
from sft.settings import Section

Auto = Literal["auto"]
Part = Literal["text", "vision", "projector"]


class LoraConfig(Section):
    """Low-rank adapters instead of full fine-tuning (engines paddleformers and transformers).

    PaddleFormers takes the rank alone, and what the others are by default.
    """

    rank: int = Field(8, ge=1, le=256, description="Rank of the adapters")
    alpha: float | None = Field(None, gt=0, le=4096, description="What is added is alpha / rank; empty: twice the rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of an adapter's inputs left out at random in training")
    targets: tuple[Part, ...] = Field(
        (), description="Parts whose layers get adapters: text, vision, projector; empty: all"
    )
    four_bit: bool = Field(False, description="QLoRA: the text model's frozen weights in 4 bits (bitsandbytes)")


class TrainConfig(Section):
    """Hyperparameters, part of the run's identity but for ``restarts``, ``resume`` and those marked."""

    max_steps: Annotated[int, Field(ge=1)] | Auto = Field(
        "auto", description="Optimiser steps; auto derives them from rows and epochs"
    )
    epochs: float = Field(2.0, gt=0, le=1000, description="Passes over the training set, when max_steps is auto")
    warmup_steps: Annotated[int, Field(ge=0)] | Auto = Field(
        "auto", description="Steps of linear warm-up; auto is 1 % of max_steps"
    )
    learning_rate: float = Field(5e-6, gt=0, le=1, description="Peak learning rate (5e-6 full, 5e-4 LoRA)")
    min_learning_rate: float = Field(
        5e-7, ge=0, le=1, description="Learning rate at the end of the schedule (constant has no end)"
    )
    lr_scheduler: Literal["cosine", "linear", "constant"] = Field("cosine", description="Shape of the schedule")
    batch_size: int = Field(8, ge=1, le=4096, description="Rows in one forward pass (ERNIEKit's packing_size)")
    gradient_accumulation_steps: int = Field(
        8, ge=1, le=4096, description="Forward passes in one optimiser step, on all cards together"
    )
    max_seq_len: int = Field(16384, ge=64, le=131072, description="Longest sequence (tokens, image and text)")
    weight_decay: float = Field(0.1, ge=0, le=1, description="Decoupled weight decay")
    seed: int = Field(23, ge=1, le=2**31 - 1, description="Seed of the trainer (PaddleFormers refuses 0)")
    precision: Literal["bf16", "float16", "float32"] = Field(
        "bf16", description="float32 is for the CPU, float16 for GPUs without bf16 (T4)"
    )
    lora: LoraConfig | None = Field(None, description="LoRA instead of full fine-tuning")
    freeze: tuple[Part, ...] = Field(
        (), description="Parts that stay as they are: text, vision, projector (engine transformers)"
    )
    augment: Literal["none", "template"] = Field(
        "none",
        description="template: PaddleFormers' own changes of training images (turns by 90°, scales, JPEG, padding)",
    )
    recompute: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Compute activations twice instead of keeping them: less memory, a third slower; auto: on a GPU "
        "(not part of the identity)",
    )
    save_steps: int = Field(200, ge=1, description="Steps between checkpoints (not part of the identity)")
    save_total_limit: int = Field(5, ge=1, le=100, description="Checkpoints kept (not part of the identity)")
    logging_steps: int = Field(1, ge=1, description="Steps between progress lines (not part of the identity)")
    stall_minutes: float = Field(
        60,
        gt=0,
        le=1440,
        description="A training without a progress line for so long is stopped (minutes; not part of the identity)",
    )
    dropped_rows: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Share of the rows that the trainer may leave out (too long, unreadable); above it the training "
        "stops (not part of the identity)",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Checkpoints that may read the dev rows without a better score; then the training ends there, with "
        "its best (needs dataset.dev or dataset.dev_share); empty: it goes on to its last step",
    )
    restarts: int = Field(
        2, ge=0, le=20, description="How often a training that died or ran into its time limit resumes by itself"
    )
    resume: str = Field(
        "auto",
        pattern=r"^(auto|never|checkpoint-\d+)$",
        description="auto: newest verified checkpoint; never: from the base model; checkpoint-N: that one",
    )

    @model_validator(mode="after")
    def _steps(self) -> TrainConfig:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(f"min_learning_rate {self.min_learning_rate} exceeds learning_rate {self.learning_rate}")
        return self

    def steps(self, passes: float) -> int:
        """Optimiser steps: ``max_steps``, or P·E / A rounded up: with P = D / B rows the formula of ERNIEKit's OCR-VL
        guide. Its G cards have A / G passes of a step each: their number changes nothing.

        Args:
            passes: forward passes that are one epoch (P): packs, or rows by batch_size.
        """
        if self.max_steps != "auto":
            return self.max_steps
        # What the estimate of packs leaves behind the point is no step more.
        return max(1, math.ceil(round(passes * self.epochs / self.gradient_accumulation_steps, 6)))

    def warmup(self, steps: int) -> int:
        """Warm-up steps: as given, or 1 % of ``steps`` rounded up."""
        return self.warmup_steps if self.warmup_steps != "auto" else math.ceil(steps / 100)

    def spec(self, steps: int, device: str) -> TrainSpec:
        """The resolved hyperparameters of a training of so many steps on a ``gpu`` or ``cpu``."""
        same = self.model_dump(
            exclude={"max_steps", "warmup_steps", "lora", "freeze", "augment", "resume", "restarts", "patience"}
        )
        given = {"device": device, "max_steps": steps, "warmup_steps": self.warmup(steps), "frozen": self.freeze}
        if self.lora is not None:
            given |= {f"lora_{name}": getattr(self.lora, name) for name in ("rank", "alpha", "dropout", "targets")}
            given["four_bit"] = self.lora.four_bit
        return TrainSpec(**same, **given)

"""The configuration of a run: one frozen model, bounds and a description with its unit on every field.

The defaults are the figures of ERNIEKit's ``run_ocr_vl_sft_16k.yaml`` (PaddlePaddle/ERNIE,
examples/configs/PaddleOCR-VL) for one A100-80GB. Field descriptions are what Prefect's UI shows beside the form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sft.dataset.settings import DatasetConfig
from sft.engines import ENGINES
from sft.engines.base import TrainSpec
from sft.errors import ConfigError
from sft.metrics.gate import Rule
from sft.metrics.text import Normalisation
from sft.settings import Section, of_the_user
from sft.training.memory import check, plain, unusable

MAIL = "email-server-credentials"  # Prefect's type of block that sends mail by SMTP
Auto = Literal["auto"]
Event = Literal["failed", "cancelled", "promoted", "refused", "skipped", "finished"]
MINUTES = 60  # seconds


class BaseModelConfig(Section):
    """The model that is fine-tuned."""

    source: Literal["hub", "tiny"] = Field("hub", description="hub: the HF Hub; tiny: the model that ships for the CPU")
    repo: str = Field(
        "PaddlePaddle/PaddleOCR-VL", pattern=r"^[\w.-]+/[\w.-]+$", description="Repository on the HF Hub (owner/name)"
    )
    revision: str = Field(
        "main", min_length=1, max_length=64, description="Commit (40 hex digits), tag or branch; a commit is best"
    )
    start: Literal["base", "champion"] = Field(
        "base", description="What is trained on: the base model, or this name's champion where there is one"
    )


class LoraConfig(Section):
    """Low-rank adapters instead of full fine-tuning (engine paddleformers only)."""

    rank: int = Field(8, ge=1, le=256, description="Rank of the adapters")


class TrainConfig(Section):
    """Hyperparameters: all of them are part of the run's identity, but for the three marked otherwise."""

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
    gradient_accumulation_steps: int = Field(8, ge=1, le=4096, description="Forward passes in one optimiser step")
    max_seq_len: int = Field(16384, ge=64, le=131072, description="Longest sequence (tokens, image and text)")
    weight_decay: float = Field(0.1, ge=0, le=1, description="Decoupled weight decay")
    seed: int = Field(23, ge=1, le=2**31 - 1, description="Seed of the trainer (PaddleFormers refuses 0)")
    precision: Literal["bf16", "float16", "float32"] = Field(
        "bf16", description="float32 is for the CPU, float16 for GPUs without bf16 (T4)"
    )
    lora: LoraConfig | None = Field(None, description="LoRA instead of full fine-tuning")
    save_steps: int = Field(200, ge=1, description="Steps between checkpoints (not part of the identity)")
    save_total_limit: int = Field(5, ge=1, le=100, description="Checkpoints kept (not part of the identity)")
    logging_steps: int = Field(1, ge=1, description="Steps between progress lines (not part of the identity)")
    stall_minutes: float = Field(
        60, gt=0, le=1440, description="A training without a progress line for so long is stopped (minutes; beside)"
    )
    dropped_rows: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Share of the rows that the trainer may leave out (too long, unreadable); above it the training "
        "stops (beside)",
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

    def steps(self, passes: float, gpus: int = 1) -> int:
        """Optimiser steps: ``max_steps``, or P·E / (G·A) rounded up: with P = D / B rows the formula of ERNIEKit's
        OCR-VL guide.

        Args:
            passes: forward passes that are one epoch (P): packs, or rows by batch_size.
            gpus: number of devices (G).
        """
        if self.max_steps != "auto":
            return self.max_steps
        # What the estimate of packs leaves behind the point is no step more.
        return max(1, math.ceil(round(passes * self.epochs / (gpus * self.gradient_accumulation_steps), 6)))

    def warmup(self, steps: int) -> int:
        """Warm-up steps: as given, or 1 % of ``steps`` rounded up."""
        return self.warmup_steps if self.warmup_steps != "auto" else math.ceil(steps / 100)

    def spec(self, steps: int, device: str) -> TrainSpec:
        """The resolved hyperparameters of a training of so many steps on a ``gpu`` or ``cpu``."""
        same = self.model_dump(exclude={"max_steps", "warmup_steps", "lora", "resume", "restarts"})
        rank = self.lora.rank if self.lora else None
        return TrainSpec(**same, device=device, max_steps=steps, warmup_steps=self.warmup(steps), lora_rank=rank)


class EvaluateConfig(Section):
    """How base and tuned model are compared on the held-out set. Decoding is greedy."""

    batch_size: int = Field(8, ge=1, le=1024, description="Rows decoded together")
    max_new_tokens: int = Field(2048, ge=1, le=16384, description="Longest answer (tokens)")
    max_rows: int = Field(1000, ge=1, description="Held-out rows used: all, or a sample by task, script and length")
    shards: int = Field(1, ge=1, le=64, description="Calls that share the reading of the rows, for each model")
    normalise: Normalisation = Field(
        default_factory=Normalisation, description="What is made equal before texts are compared"
    )
    examples: int = Field(24, ge=0, le=200, description="Rows shown as pictures in the report, the worst first")


class PromoteConfig(Rule):
    """When a tuned model becomes the champion: the one that ``sft infer --model champion`` and your service use."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    mode: Literal["gate", "never"] = Field(
        "gate",
        description="gate: promoted if it passes the rule; never: by hand alone (sft promote, which checks the export)",
    )
    check_rows: int = Field(32, ge=1, le=1000, description="Held-out rows that the export must reproduce (rows)")

    @property
    def rule(self) -> Rule:
        """The gate's rule alone."""
        return Rule(**self.model_dump(exclude={"mode", "check_rows"}))


class WheelConfig(Section):
    """The wheel of paddlepaddle-gpu. Empty values: the known wheel of the engine (sft/training/wheels.py)."""

    build: Literal["stable", "cudnn95"] = Field(
        "stable", description="cudnn95: the build with cuDNN 9.5 (erniekit only); deploy with SFT_WHEEL_BUILD=cudnn95"
    )
    url: str = Field("", pattern=r"^(https?://.+\.whl(\?.*)?)?$", description="Another address of the wheel")
    size: int = Field(0, ge=0, description="Its size (bytes); 0: not checked at the first download")
    sha256: str = Field(
        "", pattern=r"^([0-9a-fA-F]{64})?$", description="Its sha256; empty: recorded at first download"
    )


class ModalConfig(Section):
    """Where and on what the jobs run with ``compute: modal``."""

    gpu: str = Field(
        "A100-80GB",
        description="GPU as Modal names it; H100! forbids Modal to give an H200; A100-80GB,H100: whichever is free; "
        "none: the CPU, to try things out",
    )
    cpu: float | None = Field(8, gt=0, le=64, description="CPU cores of a container; empty: Modal's default, 0.125")
    memory_mb: int | None = Field(
        32768, ge=128, le=344_064, description="Memory of a container (MiB); empty: Modal's default, 128"
    )
    timeout_hours: float = Field(24, gt=0, le=24, description="Longest training in one call (hours)")

    @field_validator("gpu")
    @classmethod
    def _named(cls, given: str) -> str:
        if given not in ("none", "A100-80GB,H100") and (problem := unusable(given)):
            raise ValueError(problem)
        return given


class BudgetConfig(Section):
    """Bounds on what is spent: a training that reaches one is stopped with a checkpoint, and resumes when it is raised.

    Hours are wall-clock hours of the training's call, on one GPU; with ``compute: local`` those of this machine.
    """

    max_hours: float | None = Field(None, gt=0, description="Longest training in one run (hours); empty: no bound")
    max_cost: float | None = Field(None, gt=0, description="Highest cost of one run's training (currency)")
    max_cost_per_month: float | None = Field(
        None,
        gt=0,
        description="Highest cost of a calendar month, all GPU jobs together; looked at while training (currency)",
    )
    prices: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="Price of each GPU (currency per hour), such as A100-80GB: 2.5"
    )
    currency: str = Field("USD", min_length=1, max_length=8, description="What prices are in")
    prices_as_of: date | None = Field(None, description="When the prices were looked up (a date)")

    def hourly(self, gpu: str) -> float | None:
        """The price of an hour; of several cards the dearest one's; None where one is unknown."""
        prices = [self.prices.get(card, self.prices.get(plain(card))) for card in gpu.split(",")]
        return None if None in prices else max(price for price in prices if price is not None)


class NotifyConfig(Section):
    """Who is told how a run ended. Blocks are made in Prefect's UI or by ``prefect block create``."""

    blocks: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")], ...] = Field(
        (), description="Prefect's notification blocks, type/name: slack-webhook/ocr-team, custom-webhook/pager, …"
    )
    on: tuple[Event, ...] = Field(
        ("failed", "promoted", "refused", "skipped"), description="Which ends of a run are told"
    )
    to: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...] = Field(
        (), description="E-mail addresses, for a block email-server-credentials/NAME"
    )

    @model_validator(mode="after")
    def _addressed(self) -> NotifyConfig:
        if any(block.startswith(f"{MAIL}/") for block in self.blocks) and not self.to:
            raise ValueError(f"a block {MAIL}/NAME sends mail to notify.to: name addresses there")
        return self


class OutputConfig(Section):
    """What comes back to this machine."""

    folder: str = Field("models", min_length=1, description="Local folder for models and reports")

    _home = field_validator("folder")(of_the_user)


class RunConfig(Section):
    """One fine-tuning run. ``profile`` names the file that its values come from (see :mod:`sft.config.load`)."""

    profile: str = Field("", description="The profile that the values come from; another one has its own deployment")
    name: str = Field(
        "sft",
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="Names the folder of the results (a-z, 0-9, -; at most 40)",
    )
    compute: Literal["local", "modal"] = Field("modal", description="modal: a GPU at Modal; local: this machine's CPU")
    engine: str = Field("erniekit", description="The trainer", json_schema_extra={"enum": list(ENGINES)})
    dataset: DatasetConfig = Field(default_factory=DatasetConfig, description="The rows")
    base_model: BaseModelConfig = Field(default_factory=BaseModelConfig, description="The model that is fine-tuned")
    train: TrainConfig = Field(default_factory=TrainConfig, description="Hyperparameters")
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="The comparison on the held-out set")
    promote: PromoteConfig = Field(default_factory=PromoteConfig, description="When the tuned model goes into service")
    wheel: WheelConfig = Field(default_factory=WheelConfig, description="The wheel of paddlepaddle-gpu")
    modal: ModalConfig = Field(default_factory=ModalConfig, description="GPU and limits at Modal")
    budget: BudgetConfig = Field(default_factory=BudgetConfig, description="What a run and a month may cost")
    skip_unchanged: bool = Field(
        False, description="End as Skipped where data and settings are those of this name's last finished run"
    )
    notify: NotifyConfig = Field(default_factory=NotifyConfig, description="Who is told how a run ended")
    output: OutputConfig = Field(default_factory=OutputConfig, description="What comes back to this machine")

    @field_validator("engine")
    @classmethod
    def _engine(cls, given: str) -> str:
        if given not in ENGINES:
            allowed = {"allowed": " or ".join(map(repr, ENGINES))}
            raise PydanticCustomError("engine", "Input should be {allowed}", allowed)
        return given

    @model_validator(mode="after")
    def _together(self) -> RunConfig:
        problems = []
        elsewhere = self.dataset.digits is not None or self.dataset.volume
        if not elsewhere and not (self.dataset.train and self.dataset.held_out):
            advice = "" if self.profile else ", or name a profile that does (profile: smoke)"
            problems.append(
                f"dataset.train and dataset.held_out are both needed: give the paths of two JSONL files{advice}"
            )
        if self.dataset.digits is not None and self.dataset.volume:
            problems.append("dataset.digits and dataset.volume are two datasets: choose one")
        if self.dataset.digits is not None and (self.dataset.train or self.dataset.held_out):
            problems.append("dataset.digits composes its own rows: leave out dataset.train and dataset.held_out")
        problems += [f"{self._asked(key)} {why}" for key, why in self._engine_cannot()]
        if not self.on_cpu:
            try:
                lora, bf16 = self.train.lora is not None, self.train.precision == "bf16"
                check(self.modal.gpu.split(",")[0], self.train.batch_size, lora=lora, bf16=bf16)
            except ConfigError as error:
                problems.append(str(error))
        bounded = self.budget.max_cost is not None or self.budget.max_cost_per_month is not None
        if bounded and self.compute == "modal" and self.budget.hourly(self.modal.gpu) is None:
            problems.append(f"a bound on cost needs budget.prices of {self.modal.gpu}: see Modal's price page")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def on_cpu(self) -> bool:
        """Does the training run without a GPU?"""
        return self.compute == "local" or self.modal.gpu == "none"

    @property
    def billed_as(self) -> str:
        """What a training runs on, as the ledger and the prices name it."""
        return "cpu" if self.on_cpu else self.modal.gpu

    def _engine_cannot(self) -> Iterable[tuple[str, str]]:
        spec = self.train.spec(steps=1, device="cpu" if self.on_cpu else "gpu")
        return ENGINES[self.engine].cannot(spec).items()

    def _asked(self, field: str) -> str:
        """What was asked for, as an error names it."""
        if field == "device":
            return "compute local" if self.compute == "local" else f"modal.gpu {self.modal.gpu}"
        return "train.lora" if field == "lora" else f"train.{field} {getattr(self.train, field)}"


def is_whole(values: Mapping[str, Any]) -> bool:
    """Do they hold every section, as a form's do? Then nothing is left to take from a profile."""
    sections = (name for name, f in RunConfig.model_fields.items() if isinstance(f.annotation, type(RunConfig)))
    return all(isinstance(values.get(name), Mapping) for name in sections)

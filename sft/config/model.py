"""The configuration of a run: one frozen model, bounds and a description with its unit on every field.

The defaults are the figures of ERNIEKit's ``run_ocr_vl_sft_16k.yaml`` (PaddlePaddle/ERNIE,
examples/configs/PaddleOCR-VL) for one A100-80GB. Field descriptions are what Prefect's UI shows beside the form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sft.config.sections import (
    BaseModelConfig,
    BudgetConfig,
    EvaluateConfig,
    LocalConfig,
    ModalConfig,
    NotifyConfig,
    OutputConfig,
    PromoteConfig,
    TrackConfig,
    WheelConfig,
)
from sft.config.train import TrainConfig
from sft.dataset import elsewhere as addresses
from sft.dataset.settings import DatasetConfig
from sft.engines import ENGINES
from sft.engines.base import TrainSpec
from sft.errors import ConfigError
from sft.families import Family
from sft.settings import Section
from sft.training.cards import Card, cards
from sft.training.memory import MOST_CARDS, check, count, single

MOST_MIXED = 0.9  # share of the rows that are trained on


class RunConfig(Section):
    """One fine-tuning run. ``profile`` names the file that its values come from (see :mod:`sft.config.load`)."""

    profile: str = Field("", description="The profile that the values come from; another one has its own deployment")
    name: str = Field(
        "sft",
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="Names the folder of the results (a-z, 0-9, -; at most 40)",
    )
    compute: Literal["local", "modal"] = Field("modal", description="modal: a GPU at Modal; local: this machine")
    engine: str = Field("erniekit", description="The trainer", json_schema_extra={"enum": list(ENGINES)})
    dataset: DatasetConfig = Field(default_factory=DatasetConfig, description="The rows")
    base_model: BaseModelConfig = Field(default_factory=BaseModelConfig, description="The model that is fine-tuned")
    train: TrainConfig = Field(default_factory=TrainConfig, description="Hyperparameters")
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="The comparison on the held-out set")
    promote: PromoteConfig = Field(default_factory=PromoteConfig, description="When the tuned model goes into service")
    wheel: WheelConfig = Field(default_factory=WheelConfig, description="The wheel of paddlepaddle-gpu")
    modal: ModalConfig = Field(default_factory=ModalConfig, description="GPU and limits at Modal")
    local: LocalConfig = Field(default_factory=LocalConfig, description="The device with compute local")
    budget: BudgetConfig = Field(default_factory=BudgetConfig, description="What a run and a month may cost")
    skip_unchanged: bool = Field(
        False, description="End as Skipped where data and settings are those of this name's last finished run"
    )
    gpu_limit: str = Field(
        "",
        pattern=r"^[A-Za-z0-9][\w.-]*$|^$",
        max_length=80,
        description="Prefect's global concurrency limit of which a training holds a slot for each GPU (prefect gcl "
        "create NAME --limit 2); empty: none",
    )
    notify: NotifyConfig = Field(default_factory=NotifyConfig, description="Who is told how a run ended")
    track: TrackConfig = Field(default_factory=TrackConfig, description="Who shows what came of the runs")
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
        placed = self.dataset.placed
        names = {key: getattr(self.dataset, key) for key in ("train", "held_out", "dev")}
        problems += [] if elsewhere else addresses.problems(names)
        named = {f"dataset.mix.{name}.path": mixed.path for name, mixed in self.dataset.mix.items()}
        named |= {f"dataset.guard.{name}": address for name, address in self.dataset.guard.items()}
        problems += [f"{key}: {said}" for key, address in named.items() if (said := addresses.wrong(address))]
        if not elsewhere and not placed and not (self.dataset.train and self.dataset.held_out):
            advice = "" if self.profile else ", or name a profile that does (profile: smoke)"
            given = next((f"dataset.{key}" for key in ("train", "held_out") if getattr(self.dataset, key)), "")
            missing = {"dataset.train": "dataset.held_out", "dataset.held_out": "dataset.train"}.get(given, "")
            both = f"dataset.train and dataset.held_out are both needed: give the paths of two JSONL files{advice}"
            problems.append(
                f"{missing} is missing: give the path of a JSONL file, as {given} has it" if missing else both
            )
        if self.dataset.digits is not None and self.dataset.volume:
            problems.append("dataset.digits and dataset.volume are two datasets: choose one")
        if self.dataset.digits is not None and (self.dataset.train or self.dataset.held_out):
            problems.append("dataset.digits composes its own rows: leave out dataset.train and dataset.held_out")
        if self.dataset.dev and (self.dataset.dev_share or elsewhere):
            other = "dataset.dev_share" if self.dataset.dev_share else "dataset.volume or dataset.digits"
            problems.append(f"dataset.dev and {other} are two dev sets, or two places: leave one out")
        if self.dataset.mix and self.dataset.volume:
            problems.append("dataset.mix needs dataset.train: a dataset on the data volume is trained on as it is")
        if (share := sum(mixed.share for mixed in self.dataset.mix.values())) > MOST_MIXED:
            problems.append(f"dataset.mix has {share:g} of all rows: at most {MOST_MIXED:g} are not dataset.train's")
        if self.dataset.images == "headers":
            problems.append(
                "dataset.images headers: a run is known by the content of its images, which is not read then, so "
                "that others would be taken for them; use content or decode (sft validate --images headers only looks)"
            )
        if self.train.patience and not (self.dataset.dev or self.dataset.dev_share or self.dataset.volume):
            problems.append("train.patience needs dev rows: give dataset.dev, or dataset.dev_share=0.05")
        problems += self.base_model.problems(self.engine)
        problems += [f"{self._asked(key)} {why}" for key, why in self._engine_cannot()]
        if self.train.augment != "none" and not ENGINES[self.engine].augments:
            problems.append(f"train.augment {self.train.augment} needs engine paddleformers")
        problems += self._cards_problems()
        if self.evaluate.backend == "vllm" and self.on_cpu:
            where = "compute local reads on this machine's CPU" if self.compute == "local" else "modal.gpu is none"
            problems.append(f"evaluate.backend vllm reads on a GPU at Modal, and {where}: leave evaluate.backend out")
        if self.device == "gpu" and self.card is not None:
            try:
                lora, bf16 = self.train.lora is not None, self.train.precision == "bf16"
                check(self.card, self.train.batch_size, lora=lora, bf16=bf16, cards=self.gpus)
            except ConfigError as error:
                problems.append(str(error))
        bounded = self.budget.max_cost is not None or self.budget.max_cost_per_month is not None
        if bounded and self.compute == "modal" and self.budget.hourly(self.modal.gpu) is None:
            problems.append(f"a bound on cost needs budget.prices of {self.modal.gpu}: see Modal's price page")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def family(self) -> Family:
        """What is known of the base model's family."""
        found = self.base_model.known()
        assert found is not None, "validated"
        return found

    def spec(self, steps: int) -> TrainSpec:
        """The resolved hyperparameters of a training of so many steps."""
        augment = self.train.augment if ENGINES[self.engine].augments else ""
        more = {"asks": self.family.asks, "augment": augment, "devices": self.gpus}
        return self.train.spec(steps, self.device).model_copy(update=more)

    @property
    def on_cpu(self) -> bool:
        """Do the jobs run without a rented GPU, and read models on the CPU?"""
        return self.compute == "local" or self.modal.gpu == "none"

    @property
    def device(self) -> Literal["cpu", "gpu"]:
        """What the training runs on."""
        if self.compute == "modal":
            return "cpu" if self.modal.gpu == "none" else "gpu"
        usable = self.local.device != "cpu" and ENGINES[self.engine].uses_this_gpu and cards()
        return "gpu" if usable else "cpu"

    @property
    def card(self) -> str | Card | None:
        """The GPU that the training has to fit on: by Modal's name, or the smallest of this machine's that it takes."""
        if self.device == "cpu":
            return None
        if self.compute == "modal":
            return single(self.modal.gpu.split(",")[0])
        return min(cards()[: self.gpus], key=lambda card: (card.bf16, card.memory))

    @property
    def gpus(self) -> int:
        """Devices that train together: cards, or the CPU."""
        if self.device == "cpu":
            return 1
        if self.compute == "modal":
            return count(self.modal.gpu)
        return len(cards()[:MOST_CARDS]) if self.local.gpus == "all" else self.local.gpus

    @property
    def billed_as(self) -> str:
        """What a training runs on, as the ledger and the prices name it."""
        return "cpu" if self.on_cpu else self.modal.gpu

    @property
    def reads_on(self) -> str:
        """What the other jobs run on: one card, however many train together."""
        return ",".join(map(single, self.billed_as.split(",")))

    def _cards_problems(self) -> Iterable[str]:
        """Are the cards there that are asked for, and can they share a step?"""
        if self.compute == "local" and self.local.device == "gpu":
            if not ENGINES[self.engine].uses_this_gpu:
                yield "local.device gpu needs engine transformers: Paddle is installed here for the CPU"
                return
            if not cards():
                yield "local.device gpu: nvidia-smi finds no GPU on this machine; auto takes the CPU then"
                return
        on_cpu = self.compute == "local" and self.device == "cpu" and self.local.device == "auto"
        if on_cpu and self.local.gpus not in (1, "all"):
            yield f"local.gpus {self.local.gpus}: there is no GPU that engine {self.engine} uses here; leave it out"
        if self.compute == "local" and self.device == "gpu" and self.gpus > len(cards()):
            left = f"this machine has {len(cards())} that CUDA_VISIBLE_DEVICES leaves"
            yield f"local.gpus {self.gpus}: {left}; use fewer, or all"
        passes = self.train.gradient_accumulation_steps
        if passes % self.gpus:
            fitting = [str(n) for n in range(1, MOST_CARDS + 1) if passes % n == 0]
            more = -(-passes // self.gpus) * self.gpus
            yield (
                f"train.gradient_accumulation_steps {passes} are a step's forward passes on all cards together, and "
                f"{self._asked('devices')} cannot share them evenly: use {', '.join(fitting)} of them, or {more} passes"
            )

    def _engine_cannot(self) -> Iterable[tuple[str, str]]:
        spec = self.train.spec(steps=1, device=self.device).model_copy(update={"devices": self.gpus})
        return ENGINES[self.engine].cannot(spec).items()

    def _asked(self, field: str) -> str:
        """What was asked for, as an error names it."""
        if field == "device":
            return "compute local" if self.compute == "local" else f"modal.gpu {self.modal.gpu}"
        if field == "devices":
            return f"local.gpus {self.local.gpus}" if self.compute == "local" else f"modal.gpu {self.modal.gpu}"
        return f"train.{field}" if field.startswith("lora") else f"train.{field} {getattr(self.train, field)}"


def is_whole(values: Mapping[str, Any]) -> bool:
    """Do they hold every section, as a form's do? Then nothing is left to take from a profile."""
    sections = (name for name, f in RunConfig.model_fields.items() if isinstance(f.annotation, type(RunConfig)))
    return all(isinstance(values.get(name), Mapping) for name in sections)

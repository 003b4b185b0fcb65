"""The sections of a configuration beside the rows and the hyperparameters: model, judging, place, money, people."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from sft.families import FAMILIES, TINY, Family, of_repository
from sft.metrics.gate import Rule
from sft.metrics.text import Normalisation
from sft.settings import Section, of_the_user
from sft.training.memory import MOST_CARDS, count, plain, single, unusable

MAIL = "email-server-credentials"  # Prefect's type of block that sends mail by SMTP
Event = Literal["failed", "cancelled", "waiting", "promoted", "refused", "skipped", "finished"]


class BaseModelConfig(Section):
    """The model that is fine-tuned."""

    source: Literal["hub", "tiny"] = Field("hub", description="hub: the HF Hub; tiny: the model that ships for the CPU")
    repo: str = Field(
        "PaddlePaddle/PaddleOCR-VL", pattern=r"^[\w.-]+/[\w.-]+$", description="Repository on the HF Hub (owner/name)"
    )
    family: Literal["auto", "0.9B", "1.5", "1.6"] = Field(
        "auto", description="The PaddleOCR-VL that the repository's model was made from; auto: the repository is one"
    )
    revision: str = Field(
        "main", min_length=1, max_length=64, description="Commit (40 hex digits), tag or branch; a commit is best"
    )
    start: Literal["base", "champion"] = Field(
        "base", description="What is trained on: the base model, or this name's champion where there is one"
    )

    def known(self) -> Family | None:
        """The family that the model is of; None where nobody says it."""
        if self.source == "tiny":
            return TINY
        return of_repository(self.repo) or FAMILIES.get(self.family)

    def problems(self, engine: str) -> list[str]:
        """Why an engine does not train this model as it was trained before."""
        found, registered = self.known(), of_repository(self.repo)
        if found is None:
            known = ", ".join(name for family in FAMILIES.values() for name in family.repositories)
            return [
                f"base_model.repo {self.repo} is no known PaddleOCR-VL ({known}): where its model was made from one of "
                f"them, say from which: base_model.family={', '.join(FAMILIES)}"
            ]
        if self.source == "hub" and registered and self.family not in ("auto", registered.name):
            return [f"base_model.family {self.family}: {self.repo} is {registered.name}; leave base_model.family out"]
        if why := found.not_by.get(engine):
            advice = "use engine paddleformers or transformers"
            return [f"engine {engine} does not train PaddleOCR-VL-{found.name}: {why}; {advice}"]
        return []


class EvaluateConfig(Section):
    """How base and tuned model are compared on the held-out set. Decoding is greedy."""

    batch_size: int = Field(8, ge=1, le=1024, description="Rows decoded together")
    max_new_tokens: int = Field(2048, ge=1, le=16384, description="Longest answer (tokens)")
    max_rows: int = Field(1000, ge=1, description="Held-out rows used: all, or a sample by task, script and length")
    dev_rows: int = Field(
        200,
        ge=1,
        description="Dev rows that each checkpoint reads, at most (rows); fewer where they would take too long",
    )
    backend: Literal["auto", "paddleformers", "transformers", "vllm"] = Field(
        "auto",
        description="What reads; auto: transformers, where it is installed, enough is to be read, and its answers to a "
        "few rows of each model are PaddleFormers'",
    )
    shards: int = Field(1, ge=1, le=64, description="Calls that share the reading of the rows, for each model")
    normalise: Normalisation = Field(
        default_factory=Normalisation, description="What is made equal before texts are compared"
    )
    examples: int = Field(
        100,
        ge=0,
        le=1000,
        description="Rows whose pictures are in the report's page, the worst first (rows); the others' lie beside it",
    )


class PromoteConfig(Rule):
    """When a tuned model becomes the champion: the one that ``sft infer --model champion`` and your service use."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    mode: Literal["gate", "ask", "never"] = Field(
        "gate",
        description="gate: promoted if it passes the rule; ask: where it passes, a person is asked, too; never: by "
        "hand alone (sft promote, which checks the export)",
    )
    wait: float = Field(
        24, gt=0, le=24 * 30, description="How long a run with mode ask waits for an answer; then it is refused (hours)"
    )
    check_rows: int = Field(32, ge=1, le=1000, description="Held-out rows that the export must reproduce (rows)")

    @property
    def rule(self) -> Rule:
        """The gate's rule alone."""
        return Rule(**self.model_dump(include=set(Rule.model_fields)))


class WheelConfig(Section):
    """The wheel of paddlepaddle-gpu. Empty values: the known wheel of the engine (sft/training/wheels.py)."""

    build: Literal["stable", "cudnn95"] = Field(
        "stable", description="cudnn95: the build with cuDNN 9.5 (erniekit only); deploy with SFT_WHEEL_BUILD=cudnn95"
    )
    url: str = Field(
        "",
        pattern=r"^(https?://.+\.whl(\?.*)?)?$",
        description="Another address of the wheel (http or https; it ends in .whl)",
    )
    size: int = Field(0, ge=0, description="Its size (bytes); 0: not checked at the first download")
    sha256: str = Field(
        "", pattern=r"^([0-9a-fA-F]{64})?$", description="Its sha256; empty: recorded at first download"
    )


class ModalConfig(Section):
    """Where and on what the jobs run with ``compute: modal``."""

    gpu: str = Field(
        "A100-80GB",
        description="GPU as Modal names it; H100! forbids Modal to give an H200; A100-80GB,H100: whichever is free; "
        "A100-80GB:4: four in one machine, for the training alone; none: the CPU, to try things out",
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


class LocalConfig(Section):
    """On what of this machine a training runs with ``compute: local``; the models are read on the CPU."""

    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="auto: the GPU where there is one and the engine has a use for it (transformers)"
    )
    gpus: Annotated[int, Field(ge=1, le=MOST_CARDS)] | Literal["all"] = Field(
        1, description="GPUs of this machine that train together: the first ones that CUDA_VISIBLE_DEVICES leaves"
    )


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
        """The price of an hour; of several kinds of cards the dearest one's; None where one is unknown.

        ``A100-80GB:4`` costs four times a card, unless it has a price of its own.
        """
        prices = [self._hourly(card) for card in gpu.split(",")]
        return None if None in prices else max(price for price in prices if price is not None)

    def _hourly(self, cards: str) -> float | None:
        if cards in self.prices:
            return self.prices[cards]
        price = self.prices.get(single(cards), self.prices.get(plain(cards)))
        return None if price is None else price * count(cards)


class NotifyConfig(Section):
    """Who is told how a run ended. Blocks are made in Prefect's UI or by ``prefect block create``."""

    blocks: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")], ...] = Field(
        (), description="Prefect's notification blocks, type/name: slack-webhook/ocr-team, custom-webhook/pager, …"
    )
    on: tuple[Event, ...] = Field(
        ("failed", "waiting", "promoted", "refused", "skipped"),
        description="Which ends of a run are told; waiting: a person is asked (promote.mode ask)",
    )
    to: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...] = Field(
        (), description="E-mail addresses, for a block email-server-credentials/NAME"
    )

    @model_validator(mode="after")
    def _addressed(self) -> NotifyConfig:
        if any(block.startswith(f"{MAIL}/") for block in self.blocks) and not self.to:
            raise ValueError(f"a block {MAIL}/NAME sends mail to notify.to: name addresses there")
        return self


class TrackConfig(Section):
    """Trackers that are fed from the records of a run; tokens stand in the environment alone (docs/tracking.md)."""

    mlflow: str = Field(
        "",
        pattern=r"^(https?://[^\s@?#]+|databricks(://[\w.-]+)?)?$",
        description="MLflow's tracking server: http(s)://…, without user and password, or databricks",
    )
    wandb: str = Field(
        "", pattern=r"^([\w.-]+/[\w.-]+)?$", description="Where at Weights & Biases runs are shown: ENTITY/PROJECT"
    )
    swanlab: str = Field(
        "", pattern=r"^([\w.-]+/[\w.-]+)?$", description="Where at SwanLab runs are shown: WORKSPACE/PROJECT"
    )
    wait: float = Field(
        2, ge=0.05, le=30, description="How long a run waits for a tracker; what was not sent then is kept (minutes)"
    )

    @property
    def targets(self) -> dict[str, str]:
        """Tracker → where it is, of those that are asked for."""
        named = {"mlflow": self.mlflow, "wandb": self.wandb, "swanlab": self.swanlab}
        return {name: target for name, target in named.items() if target}


class OutputConfig(Section):
    """What comes back to this machine."""

    folder: str = Field("models", min_length=1, description="Local folder for models and reports")

    _home = field_validator("folder")(of_the_user)

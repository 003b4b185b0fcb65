"""What a run's configuration says of its dataset."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import Field, field_validator

from sft.dataset import tasks
from sft.dataset.elsewhere import Kind, kind_of, together
from sft.dataset.rules import RULES
from sft.settings import Section, of_the_user
from sft.store.shards.choosing import Packing

NAME = r"^[a-z0-9][a-z0-9-]{0,29}$"  # of a guard set or one that is mixed in
Severity = Literal["error", "warning", "off"]


class DigitsConfig(Section):
    """The smoke dataset: lines of real handwritten digits, composed at first use."""

    train_rows: int = Field(4000, ge=16, le=100_000, description="Lines in the training set (rows)")
    held_out_rows: int = Field(300, ge=1, le=10_000, description="Lines in the held-out set (rows), by other writers")
    seed: int = Field(1, ge=0, description="Seed of the composition")


class MixConfig(Section):
    """A set whose rows are trained on beside those of ``dataset.train``."""

    path: str = Field(
        min_length=1, description="Path of a JSONL file in the same folder tree, or an address (docs/data.md)"
    )
    share: float = Field(gt=0, le=0.9, description="Share of all rows that are trained on (fraction)")

    _home = field_validator("path")(of_the_user)


class HubConfig(Section):
    """Which rows of a dataset of the Hub (``dataset.train`` is hf://…) are trained on, and which judge."""

    train_split: str = Field("train", description="Split that is trained on; all: every file")
    held_out_split: str = Field(
        "", description="Split that is held out; empty: dataset.hub.held_out of the documents of train_split"
    )
    held_out: float = Field(
        0.1, gt=0, le=0.9, description="Share of the documents that is held out, where no split is named (fraction)"
    )
    image_column: str = Field("", description="Column of the image; empty: the usual names")
    text_column: str = Field("", description="Column of the text; empty: the usual names")
    task: str = Field("ocr", description="What is asked where a row does not say: ocr, table, …, or a prompt")


class DatasetConfig(Section):
    """Where the rows are, and what is allowed in them."""

    volume: str = Field(
        "",
        pattern=r"^([\w.-]+/)*[\w.-]*$",
        description="A dataset on the data volume (samples/bengali); it is taken instead of train and held_out",
    )
    train: str = Field(
        "",
        description="Training set: path of a JSONL file; images lie in its folder. Or where it lies already "
        "(docs/data.md): volume://FOLDER/FILE.jsonl, hf://OWNER/NAME@REVISION, s3://BUCKET/FOLDER/FILE.jsonl",
    )
    held_out: str = Field(
        "", description="Held-out set: path of a JSONL file in the same folder tree, never trained on"
    )
    dev: str = Field(
        "",
        description="Dev set: path of a JSONL file in the same folder tree, or an address. Its rows choose the "
        "checkpoint that becomes the candidate (docs/choosing.md); they are neither trained on nor judged",
    )
    dev_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the training set's documents that are set aside as dev rows, by content, where "
        "dataset.dev names no file (fraction); 0: none, the last step's model is the candidate",
    )
    part: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Part of the training set's documents that is trained on, by content; a smaller one is a part of a "
        "larger one (fraction)",
    )
    mix: dict[Annotated[str, Field(pattern=NAME)], MixConfig] = Field(
        default_factory=dict,
        description="Further sets that are trained on as well, by a name, each at its share, so that what they hold is "
        "not unlearned: rows of other tasks, general pages",
    )
    guard: dict[Annotated[str, Field(pattern=NAME)], str] = Field(
        default_factory=dict,
        description="Guard sets, by a name: paths or addresses of JSONL files with what no training may unlearn (other "
        "tasks, general pages); the gate reads them as well (promote.guard_worse)",
    )
    hub: HubConfig = Field(default_factory=HubConfig, description="Rows of a dataset of the Hub")
    endpoint: str = Field(
        "",
        pattern=r"^(https?://[\w.:-]+/?)?$",
        description="Address of the bucket's service, where it is not Amazon's or Google's (R2, MinIO)",
    )
    pack: Packing = Field(
        "auto",
        description="Images as tar shards on the data volume (docs/data.md): auto packs a set of more than 10,000 "
        "files, or one with which a volume would have more than Modal advises; never keeps single files",
    )
    digits: DigitsConfig | None = Field(None, description="Compose the smoke dataset instead of reading train/held_out")
    format: Literal["auto", "erniekit", "messages"] = Field(
        "auto", description="Row format; auto looks at the first row"
    )
    max_image_pixels: int = Field(100_000_000, ge=1024, le=10**9, description="Largest image (px, width × height)")
    max_image_bytes: int = Field(50_000_000, ge=1024, le=2 * 10**9, description="Largest image file (bytes)")
    rules: dict[str, Severity] = Field(
        default_factory=dict,
        description="Rules whose breaches count otherwise than by default: near-empty: error, duplicate: off, …",
    )
    prompts: dict[str, tasks.Prompt] = Field(
        default_factory=dict,
        description="Your own prompts, by a name: what is asked, and how answers are judged (docs/own-prompts.md)",
    )
    images: Literal["content", "headers", "decode"] = Field(
        "content",
        description="content: read headers and hash the files; decode: every pixel as well; headers: sizes only, which "
        "is for sft validate: a run is known by its images' content",
    )
    containers: int = Field(
        4, ge=1, le=256, description="Calls that validate side by side a dataset that lies elsewhere (docs/data.md)"
    )
    workers: int = Field(
        0, ge=0, le=256, description="Processes that validate; 0: as the work is worth, up to one a core"
    )
    shown: int = Field(5, ge=1, le=1000, description="Findings shown for each rule; all are counted")

    _home = field_validator("train", "held_out", "dev")(of_the_user)

    @property
    def placed(self) -> Kind | None:
        """Where the rows lie, if not on this machine."""
        return None if self.digits is not None or self.volume else kind_of(self.train)

    @property
    def beside(self) -> str:
        """The dev set where it lies with the training set; empty where there is none, or it is a set of its own."""
        return self.dev if self.dev and together(self.train, self.dev) else ""

    @property
    def apart(self) -> dict[str, str]:
        """dev, mix-NAME → path or address, of sets that do not come with the training set; empty where all lie here."""
        others = {f"mix-{name}": mixed.path for name, mixed in self.mix.items()}
        others |= {"dev": self.dev} if self.dev else {}
        if self.placed is None:
            return {split: given for split, given in others.items() if kind_of(given)}
        return {split: given for split, given in others.items() if split != "dev" or not self.beside}

    def alone(self) -> DatasetConfig:
        """The same without these sets."""
        others = self.apart
        mix = {name: mixed for name, mixed in self.mix.items() if f"mix-{name}" not in others}
        return self.model_copy(update={"mix": mix, "dev": "" if "dev" in others else self.dev})

    @property
    def scattered(self) -> list[str]:
        """Keys of the sets of this machine, where others lie elsewhere."""
        named = {} if self.volume else {"dataset.train": "" if self.digits is not None else self.train}
        named |= {"dataset.dev": self.dev} if self.dev else {}
        named |= {f"dataset.mix.{name}.path": mixed.path for name, mixed in self.mix.items()}
        here = [key for key, given in named.items() if not kind_of(given)]
        return here if len(here) < len(named) else []

    @field_validator("prompts")
    @classmethod
    def _named(cls, given: dict[str, tasks.Prompt]) -> dict[str, tasks.Prompt]:
        if found := tasks.problems(given):
            raise ValueError("; ".join(found))
        return given

    @field_validator("rules")
    @classmethod
    def _known(cls, given: dict[str, Severity]) -> dict[str, Severity]:
        problems = []
        for name, severity in given.items():
            if name not in RULES:
                near = difflib.get_close_matches(name, RULES, n=1)
                problems.append(f"no rule {name!r}" + (f", perhaps {near[0]!r}" if near else ""))
            elif RULES[name].fixed and severity != "error":
                problems.append(f"rule {name!r} is always an error: a trainer fails on such a row")
        if problems:
            raise ValueError("; ".join(problems))
        return given

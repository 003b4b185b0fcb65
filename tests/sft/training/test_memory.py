from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from compute.local import LocalCompute
from sft.config import RunConfig, load
from sft.config.profiles import layers
from sft.dataset.findings import SplitStats
from sft.dataset.packing import Amount
from sft.engines import ENGINES
from sft.engines.base import Folders
from sft.errors import ConfigError
from sft.jobs.placed_rows import DatasetPlace
from sft.plan import memory_warning, train_args, train_spec
from sft.training import memory
from sft.training.memory import Pass
from tasks.telling import listening
from tasks.validate_dataset import validate_dataset
from tests.conftest import Dataset

LINE = 1_770  # tokens of a long line of the published Bengali runs: what their 30 GB come to
PAGE = 5_100  # tokens of a full page: the processor's largest image (3,600), and a page's text


def stats(tokens: Counter[int], *, image_share: float = 0.7) -> SplitStats:
    total = sum(length * rows for length, rows in tokens.items())
    image = round(total * image_share)
    return SplitStats(rows=tokens.total(), tokens=tokens, image_tokens=image, text_tokens=total - image)


def rows_of(length: int, number: int, **more: Any) -> Pass:
    return Pass.of({length: number}, number, image_share=0.7, packed_to=None, **more)


@pytest.mark.parametrize(
    ("rows", "lora", "published", "within"),
    [
        (8, False, 30, 0.02),
        (8, True, 20, 0.02),
        (4, False, 18, 0.3),  # what the script for a 4090D preallocates
        (4, True, 12, 0.1),
    ],
)
def test_the_estimate_meets_the_published_figures(rows: int, lora: bool, published: float, within: float) -> None:
    assert memory.needed(rows_of(LINE, rows), lora=lora) == pytest.approx(published, rel=within)


def test_two_trainings_of_the_same_rows_differ_by_what_does_not_depend_on_them() -> None:
    """PaddleFormers' tables on eight cards: full 37 GB, LoRA 33; the shared optimiser state is 1.4 GB on each."""
    full_on_eight = memory.PARAMETERS * (2 + 2 + 12 / 8) / memory.GB
    assert full_on_eight - memory.LORA_FIXED == pytest.approx(37 - 33, abs=1)


def test_what_upstream_ships_on_24_gb_passes() -> None:
    config = configured("full", "engine=paddleformers", "modal.gpu=L4", "train.batch_size=4", "train.max_seq_len=16384")
    usual = Counter({400: 29_000, 900: 600, LINE: 32})
    assert memory_warning(config, stats(usual)) is None
    assert memory_warning(configured("lora", "modal.gpu=L4", "train.batch_size=4"), stats(usual)) is None


def configured(profile: str, *settings: str) -> RunConfig:
    return load(profile, list(settings)).config


def test_a_batch_of_full_pages_is_warned_of_with_the_numbers_and_what_fits() -> None:
    pages = stats(Counter({PAGE: 40, 300: 1000}))
    said = memory_warning(configured("lora", "modal.gpu=L4"), pages)
    assert said is not None
    assert "the 8 longest rows (40,800 tokens, the longest row 5,100) needs about 54 GB; L4 has 23" in said
    assert "train.batch_size=2 with train.gradient_accumulation_steps=32 is the same training in 15 GB" in said
    assert memory_warning(configured("lora"), pages) is None, "they fit on an A100 of 80 GB"
    assert memory_warning(configured("full"), pages) is None, "ERNIEKit packs rows up to max_seq_len, no further"
    few = stats(Counter({PAGE: 1, 300: 1000}))
    assert memory_warning(configured("lora", "modal.gpu=L4"), few) is None, "one page and seven lines"


def test_without_flash_attention_the_largest_images_count_by_their_square() -> None:
    assert memory_warning(configured("t4"), stats(Counter({2500: 100}))) is None, "images of 1,750 tokens"
    said = memory_warning(configured("t4"), stats(Counter({PAGE: 2})))
    assert said is not None
    assert "without flash attention" in said
    assert "is the same training" not in said, "not even one such page fits: no batch is advised"
    page, two = (Pass.of({PAGE: 2}, rows, image_share=0.7, packed_to=None) for rows in (1, 2))
    assert memory.needed(two, lora=True, flash=False) > 3 * memory.needed(page, lora=True, flash=False)
    assert memory.needed(two, lora=True) < 2 * memory.needed(page, lora=True)


@pytest.mark.parametrize(
    ("profile", "settings", "said"),
    [
        ("full", ["modal.gpu=T4"], "the card does not compute in bf16"),
        ("t4", ["train.precision=bf16"], "the card does not compute in bf16"),
        ("t4", ["train.lora=null"], "at least 16 GB are needed, 15 GB usable"),
        ("full", ["modal.gpu=L4", "train.batch_size=64"], "train.batch_size=32"),
    ],
)
def test_what_cannot_fit_whatever_the_rows_is_refused_with_the_numbers(
    profile: str, settings: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(profile, settings)
    assert said in str(caught.value)


@pytest.mark.parametrize("settings", [["modal.gpu=L4"], ["modal.gpu=L4", "train.max_seq_len=32768"]])
def test_what_depends_on_the_rows_is_not_refused_before_they_are_known(settings: list[str]) -> None:
    load("full", settings)


@pytest.mark.parametrize("profile", ["full", "lora", "nightly", "a10g", "t4", "torch-full", "torch-lora"])
def test_every_profile_fits_its_card(profile: str) -> None:
    config = load(profile).config
    lora, bf16 = config.train.lora is not None, config.train.precision == "bf16"
    estimate = memory.check(config.modal.gpu, config.train.batch_size, lora=lora, bf16=bf16)
    assert estimate is not None
    assert estimate.fits
    assert memory_warning(config, stats(Counter({1000: 100}))) is None


@pytest.mark.parametrize("gpu", ["A10", "H100!", "A100-80GB,H100", "none"])
def test_names_of_modals_guide_are_taken(gpu: str) -> None:
    """H100! is an H100: Modal must not give an H200 in its place."""
    settings = [f"modal.gpu={gpu}", *(["train.precision=float32"] if gpu == "none" else [])]
    assert load("lora", [*settings, "train.max_seq_len=8192"]).config.modal.gpu == gpu


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        ("RTX-PRO-6000", "RTX-PRO-6000 is a Blackwell card: Paddle's wheels for CUDA 12.6 have no code for it"),
        ("B200", "B200 is a Blackwell card"),
        ("B200+", "B200+ is a Blackwell card"),
        ("A100-80G", "Modal has no GPU A100-80G: use one of T4, L4"),
        ("A100!", "Modal has no GPU A100!"),
        ("H100:9", "H100:9: Modal gives 1 to 8 of these cards, such as H100:8"),
        ("A10G:8", "A10G:8: Modal gives 1 to 4 of these cards"),
        ("H100:0", "Modal gives 1 to 8"),
        ("H100:", "Modal gives 1 to 8"),
        ("none:2", "Modal has no GPU none:2"),
        ("A100-80GB:2,H100:2", "a list of cards stands in a deployed function"),
        ("H100:2", "modal.gpu H100:2 needs engine transformers or paddleformers"),
    ],
)
def test_cards_that_cannot_train_are_refused_with_the_reason(gpu: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("full", [f"modal.gpu={gpu}"])
    assert said in str(caught.value)


@pytest.mark.parametrize("profile", ["full", "lora", "nightly", "a10g", "t4", "torch-full", "torch-lora"])
def test_every_gpu_profile_asks_for_cores_and_memory(profile: str) -> None:
    """Modal's default is 0.125 core and 128 MiB, on which eight processes would decode images."""
    modal = layers(profile, RunConfig)[-1][1]["modal"]
    assert modal["cpu"] >= 8
    assert modal["memory_mb"] >= 32768


class Lines:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def event(self, event: dict[str, Any]) -> None:
        pass


@pytest.mark.usefixtures("prefect_server")
def test_the_run_says_it_before_anything_is_paid(home: Path) -> None:
    data = Dataset(home / "data")
    pages = [data.row(data.image(f"{n}.png", n, (1680, 1680)), f"{n} " + "word " * 900) for n in range(10)]
    places = [f"dataset.train={data.write('train.jsonl', pages[:9])}"]
    places.append(f"dataset.held_out={data.write('held.jsonl', pages[9:])}")

    @flow
    def begins() -> None:
        settings = ["base_model.source=tiny", "modal.gpu=L4", "train.batch_size=8", "evaluate.max_new_tokens=8192"]
        validate_dataset(configured("a10g", *places, *settings), LocalCompute(home / "state"))

    heard = Lines()
    with listening(heard):
        begins()
    said = "\n".join(heard.lines)
    assert "warning memory: a batch of the 8 longest rows" in said
    assert "train.batch_size=2 with train.gradient_accumulation_steps=64 is the same training" in said


@pytest.mark.parametrize("engine", ["paddleformers", "transformers"])
def test_several_cards_at_modal_share_a_step(engine: str) -> None:
    """As many rows a step, as many steps, whatever the number; another one that does not divide is refused."""
    settings = [f"engine={engine}", "dataset.train=a", "dataset.held_out=b"]
    one, four = (load("full", [*settings, f"modal.gpu={gpu}"]).config for gpu in ("H100!", "H100!:4"))
    assert (four.gpus, four.card, four.billed_as, four.reads_on) == (4, "H100!", "H100!:4", "H100!")
    alone, together = (train_spec(config, Amount(1000)) for config in (one, four))
    assert (together.devices, together.passes_per_device, together.gradient_accumulation_steps) == (4, 2, 8)
    assert (together.max_steps, together.warmup_steps) == (alone.max_steps, alone.warmup_steps)
    if engine == "paddleformers":
        command = ENGINES[engine].command(together, Folders(*[Path("/x")] * 5), None)
        assert (command.environment["CUDA_VISIBLE_DEVICES"], command.printed["world_size"]) == ("0,1,2,3", 4)
        assert command.config["gradient_accumulation_steps"] == 2
    identities = {_identity(config) for config in (one, four)}
    assert len(identities) == {"transformers": 1, "paddleformers": 2}[engine], "Paddle's processes draw otherwise"
    with pytest.raises(ConfigError, match=r"modal\.gpu H100:3 cannot share them evenly: use 1, 2, 4, 8 of them, or 9"):
        load("full", [*settings, "modal.gpu=H100:3"])


def _identity(config: RunConfig) -> str:
    place = DatasetPlace(
        root="r", train="a", held_out="b", train_format="messages", held_out_format="messages", fingerprint="f"
    )
    return train_args(config, place, Amount(1000), {"identity": "i", "name": "n", "files": {}}).identity


def test_each_of_several_cards_has_a_copy_and_buckets() -> None:
    load_of = memory.Pass.least(8)
    more = memory.needed(load_of, lora=False, cards=2) - memory.needed(load_of, lora=False)
    assert more == pytest.approx(3.84)
    assert memory.needed(load_of, lora=False, cards=2) == memory.needed(load_of, lora=False, cards=8)
    assert memory.needed(load_of, lora=True, cards=2) == memory.needed(load_of, lora=True)
    fits = ["engine=transformers", "dataset.train=a", "dataset.held_out=b", "train.batch_size=1"]
    assert load("full", [*fits, "modal.gpu=L4"]).config.gpus == 1

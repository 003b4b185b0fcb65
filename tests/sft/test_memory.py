import pytest

from sft import memory
from sft.config import load
from sft.config.load import read_profile
from sft.errors import ConfigError


def test_the_estimate_meets_the_published_figures() -> None:
    assert memory.needed(16384, lora=False) == pytest.approx(30)
    assert memory.needed(16384, lora=True) == pytest.approx(20)


@pytest.mark.parametrize(
    ("profile", "settings", "said"),
    [
        ("full", ["modal.gpu=A10G"], "about 30 GB are needed, 22 GB usable"),
        ("full", ["modal.gpu=T4"], "the card does not compute in bf16"),
        ("lora", ["modal.gpu=A10G", "train.max_seq_len=32768"], "use train.max_seq_len=18176"),
        ("t4", ["train.max_seq_len=16384"], "about 20 GB are needed, 15 GB usable"),
        ("t4", ["train.precision=bf16"], "the card does not compute in bf16"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_numbers(profile: str, settings: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(profile, settings)
    assert said in str(caught.value)


@pytest.mark.parametrize("profile", ["full", "lora", "nightly", "a10g", "t4"])
def test_every_profile_fits_its_card(profile: str) -> None:
    config = load(profile).config
    estimate = memory.check(
        config.modal.gpu,
        config.train.max_seq_len,
        lora=config.train.lora is not None,
        bf16=config.train.precision == "bf16",
    )
    assert estimate is not None
    assert estimate.fits


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("card", memory.CARDS)
def test_the_largest_sequence_that_is_advised_fits(card: str, lora: bool) -> None:
    usable = memory.CARDS[card][0] * (1 - memory.RESERVE)
    tokens = memory.largest_tokens(usable, lora=lora)
    assert tokens == 0 or memory.needed(tokens, lora=lora) <= usable
    assert memory.needed(tokens + 256, lora=lora) > usable


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
        ("H100:2", "a training runs on one GPU, and H100:2 asks for more"),
    ],
)
def test_cards_that_cannot_train_are_refused_with_the_reason(gpu: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("full", [f"modal.gpu={gpu}"])
    assert said in str(caught.value)


@pytest.mark.parametrize("profile", ["full", "lora", "nightly", "a10g", "t4"])
def test_every_gpu_profile_asks_for_cores_and_memory(profile: str) -> None:
    """Modal's default is 0.125 core and 128 MiB, on which eight processes would decode images."""
    modal = read_profile(profile)["modal"]
    assert modal["cpu"] >= 8
    assert modal["memory_mb"] >= 32768

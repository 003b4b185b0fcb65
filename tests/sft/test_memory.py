import pytest

from sft import memory
from sft.config import load
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


def test_an_unknown_card_is_not_judged() -> None:
    assert memory.check("RTX-PRO-6000", 16384, lora=False, bf16=True) is None

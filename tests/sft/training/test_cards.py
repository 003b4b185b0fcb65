"""A GPU of this machine: found as the driver tells it, used by the engine that can, asked whether a training fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sft.config import RunConfig, load
from sft.dataset.packing import Amount
from sft.devices import visible
from sft.engines import ENGINES
from sft.engines.base import Folders
from sft.plan import train_spec
from sft.training.cards import Card, cards

# nvidia-smi(1): --format=csv,noheader,nounits; memory.total is in MiB; a field that is not known is [N/A].
RTX_4090 = "NVIDIA GeForce RTX 4090, 24564, 8.9, GPU-3ac5f1d2-0000-0000-0000-000000000001"
T4 = "Tesla T4, 15360, 7.5, GPU-77e0b9aa-0000-0000-0000-000000000002"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program nvidia-smi that prints what the file ``cards`` holds, or fails as one without a driver (exit 9)."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'test "$*" = "--query-gpu=name,memory.total,compute_cap,uuid --format=csv,noheader,nounits" || exit 2\n'
        f'test -f {tmp_path}/cards || {{ echo "NVIDIA-SMI has failed"; exit 9; }}\ncat {tmp_path}/cards\n'
    )
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "cards"


def configured(*settings: str) -> RunConfig:
    return load("smoke", ["engine=transformers", "train.precision=bf16", *settings]).config


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (RTX_4090, (Card("NVIDIA GeForce RTX 4090", 24564 * 2**20 / 1e9, True),)),
        (f"{T4}\n{T4}", (Card("Tesla T4", 15360 * 2**20 / 1e9, False),) * 2),
        ("GB10, [N/A], 12.1, GPU-1\n", ()),
        (None, ()),
    ],
)
def test_cards_are_what_the_driver_tells(driver: Path, told: str | None, found: tuple[Card, ...]) -> None:
    if told is not None:
        driver.write_text(told)
    assert cards() == found


def test_auto_takes_the_gpu_for_the_engine_that_can_and_never_for_reading(driver: Path) -> None:
    driver.write_text(RTX_4090)
    config = configured()
    assert (config.device, config.on_cpu, config.billed_as) == ("gpu", True, "cpu")
    spec = train_spec(config, Amount(100))
    command = ENGINES["transformers"].command(spec, Folders(*[Path("/x")] * 5), None) if _has_torch() else None
    if command is not None:
        assert (command.config["use_cpu"], command.environment["CUDA_VISIBLE_DEVICES"]) == (False, "0")
        assert command.config["activation_checkpointing"]
    assert configured("local.device=cpu").device == "cpu"
    assert load("smoke").config.device == "cpu", "Paddle is installed here for the CPU"
    same = train_spec(configured("local.device=cpu"), Amount(100))
    assert same.identity() == spec.identity(), "on another device it is the same training"


def _has_torch() -> bool:
    from sft.models.second_reader import interpreter

    return interpreter() is not None


def test_without_a_gpu_auto_is_the_cpu_and_gpu_is_an_error(driver: Path) -> None:
    assert configured().device == "cpu"
    with pytest.raises(Exception, match=r"local\.device gpu: nvidia-smi finds no GPU on this machine"):
        configured("local.device=gpu")
    driver.write_text(RTX_4090)
    with pytest.raises(Exception, match=r"local\.device gpu needs engine transformers"):
        load("smoke", ["local.device=gpu"])


@pytest.mark.parametrize(
    ("card", "settings", "said"),
    [
        (T4, [], "does not compute in bf16.*Tesla T4.*train.precision=float16"),
        ("NVIDIA GeForce GTX 1650, 4096, 7.5, GPU-2", ["train.precision=float16"], "cannot fit.*GTX 1650 with 4 GB"),
    ],
)
def test_the_card_itself_is_asked_whether_a_training_fits(
    driver: Path, card: str, settings: list[str], said: str
) -> None:
    driver.write_text(card)
    with pytest.raises(Exception, match=f"(?s){said}"):
        configured(*settings)
    assert configured("local.device=cpu", "train.precision=bf16").device == "cpu"


@pytest.mark.parametrize(
    ("variable", "names"),
    [
        ("1", ["Tesla T4"]),
        ("1,0", ["Tesla T4", "NVIDIA GeForce RTX 4090"]),
        ("GPU-3ac5", ["NVIDIA GeForce RTX 4090"]),
        ("0,7,1", ["NVIDIA GeForce RTX 4090"]),  # CUDA stops counting where one is not there
        ("", []),
        ("-1", []),
    ],
)
def test_cuda_visible_devices_says_which_cards_count(
    driver: Path, variable: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.write_text(f"{RTX_4090}\n{T4}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert [card.name for card in cards()] == names
    assert visible(1) == variable.split(",")[:1] if names else configured().device == "cpu"


def test_several_of_this_machines_cards_share_a_step(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.write_text("\n".join([RTX_4090] * 3 + [T4]))
    two = configured("local.gpus=2", "train.gradient_accumulation_steps=8")
    assert (two.gpus, configured("local.gpus=2", "local.device=cpu").gpus, configured().gpus) == (2, 1, 1)
    spec = train_spec(two, Amount(100))
    assert (spec.devices, spec.passes_per_device, spec.gradient_accumulation_steps) == (2, 4, 8)
    one = train_spec(configured("train.gradient_accumulation_steps=8"), Amount(100))
    assert (spec.max_steps, spec.warmup_steps, spec.identity()) == (one.max_steps, one.warmup_steps, one.identity())
    with pytest.raises(Exception, match=r"does not compute in bf16.*Tesla T4"):  # the least of those that are taken
        configured("local.gpus=all", "train.gradient_accumulation_steps=8")
    with pytest.raises(Exception, match=r"8 are a step's forward passes .* local\.gpus 3 cannot .* use 1, 2, 4, 8 of"):
        configured("local.gpus=3", "train.gradient_accumulation_steps=8")
    with pytest.raises(Exception, match=r"local\.gpus 5: this machine has 4"):
        configured("local.gpus=5", "train.gradient_accumulation_steps=5", "train.precision=float16")
    with monkeypatch.context() as none:
        none.setenv("CUDA_VISIBLE_DEVICES", "")
        with pytest.raises(Exception, match=r"local\.gpus 2: there is no GPU that engine transformers uses here"):
            configured("local.gpus=2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    if _has_torch():
        engine, folders = ENGINES["transformers"], Folders(*[Path("/x")] * 5)
        command, parity = engine.command(spec, folders, None), engine.parity(spec, folders)
        assert parity is not None
        assert (command.config["devices"], command.config["gradient_accumulation_steps"]) == (2, 4)
        assert command.environment["CUDA_VISIBLE_DEVICES"] == "2,1"
        assert parity.environment["CUDA_VISIBLE_DEVICES"] == "2", "what one process may see, or it takes all"

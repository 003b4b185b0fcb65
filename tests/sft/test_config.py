from pathlib import Path

import pytest
from pydantic import BaseModel

from sft.config import RunConfig, load
from sft.config.load import profiles
from sft.config.model import Section, TrainConfig
from sft.errors import ConfigError


def problems(profile: str, *settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(profile, settings)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("profile", profiles())
def test_each_profile_loads(profile: str) -> None:
    load(profile)


def test_the_full_profile_has_the_figures_of_erniekits_guide() -> None:
    train = load("full").config.train
    assert train.steps(29_632 / 8) == 926  # the Bengali set
    assert train.warmup(926) == 10
    assert (train.learning_rate, train.min_learning_rate, train.batch_size) == (5e-6, 5e-7, 8)
    assert (train.gradient_accumulation_steps, train.max_seq_len, train.save_steps) == (8, 16384, 200)


def test_steps_given_are_taken_and_a_tiny_set_trains_at_least_one() -> None:
    assert TrainConfig(max_steps=7).steps(10**6) == 7
    assert TrainConfig().steps(1 / 8) == 1
    assert TrainConfig(epochs=3).steps(640 / 8, gpus=2) == 15


def test_all_errors_are_reported_at_once_with_key_value_and_what_is_allowed() -> None:
    text = problems("smoke", "train.learning_rate=-1", "train.learnin_rate=3", "engine=tensorflow", "train.max_steps=0")
    assert "4 problems" in text
    assert "train.learning_rate: Input should be greater than 0 (found -1)" in text
    assert "train.learnin_rate: no such key; did you mean learning_rate?" in text
    assert "engine: Input should be 'erniekit' or 'paddleformers' (found 'tensorflow')" in text
    assert "train.max_steps: Input should be greater than or equal to 1 or 'auto' (found 0)" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.learning_rate=nan"], "finite"),
        (["train.min_learning_rate=1"], "min_learning_rate 1.0 exceeds learning_rate 0.002"),
        (["train.precision=bf16"], "compute local needs train.precision float32"),
        (["engine=erniekit"], "ERNIEKit has no CPU version of OCR-VL"),
        (["dataset.train=a.jsonl"], "leave out dataset.train"),
        (["dataset.digits=null"], "dataset.train and dataset.held_out are both needed"),
        (["train.resume=checkpoint"], "train.resume"),
        (["name=Not a name"], "name"),
    ],
)
def test_what_cannot_work_together_is_refused(settings: list[str], said: str) -> None:
    assert said in problems("smoke", *settings)


@pytest.mark.parametrize(
    ("profile", "settings", "said"),
    [
        ("full", ["train.lr_scheduler=linear"], "train.lr_scheduler linear needs engine paddleformers: ERNIEKit has"),
        ("full", ["train.precision=float16"], "train.precision float16 needs engine paddleformers"),
        ("full", ["train.precision=float32"], "train.precision float32 needs engine paddleformers"),
        ("full", ["train.lora={}"], "train.lora needs engine paddleformers"),
        ("full", ["modal.gpu=none", "train.precision=float32"], "modal.gpu none needs engine paddleformers"),
        ("lora", ["train.precision=float32"], "train.precision float32 is for the CPU"),
        ("lora", ["modal.gpu=none"], "modal.gpu none needs train.precision float32"),
    ],
)
def test_what_an_engine_cannot_do_is_refused(profile: str, settings: list[str], said: str) -> None:
    given = ("dataset.train=t.jsonl", "dataset.held_out=h.jsonl", *settings)
    assert said in problems(profile, *given)


def test_an_unknown_profile_gets_the_nearest_name() -> None:
    assert "did you mean smoke?" in problems("smok")


def test_a_profile_outside_configs_must_be_a_yaml_path() -> None:
    assert "unknown profile" in problems("../configs/smoke")


@pytest.mark.parametrize(
    ("content", "said"), [("a: [", ":1"), ("- a", "mapping"), ("train: {epoch: 1}", "train.epoch: no such key")]
)
def test_a_broken_profile_file_names_the_place(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    assert said in problems(str(path))


def test_yaml_tags_do_not_run_code(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: !!python/object/apply:os.system ['touch {tmp_path}/owned']")
    assert "YAML" in problems(str(path))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("setting", ["train.epochs", "=3", "train..epochs=3"])
def test_an_override_without_key_or_value_is_refused(setting: str) -> None:
    assert "--set takes key=value" in problems("smoke", setting)


def test_every_value_tells_its_source() -> None:
    lines = {key: (value, source) for key, value, source in load("smoke", ["train.epochs=3"]).lines()}
    assert lines["train.epochs"] == ("3.0", "--set")
    assert lines["train.max_steps"] == ("520", "smoke.yaml")
    assert lines["evaluate.examples"] == ("24", "default")


def test_a_deployment_gives_a_profile_and_what_differs() -> None:
    config = RunConfig.model_validate({"profile": "smoke", "train": {"max_steps": 7}})
    assert (config.engine, config.train.max_steps, config.train.batch_size) == ("paddleformers", 7, 16)


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [Section, *Section.__subclasses__()]


def test_every_field_has_a_description_for_the_form() -> None:
    for section in sections(Section):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


def test_the_configuration_cannot_be_changed_once_it_is_read() -> None:
    config = load("smoke").config
    with pytest.raises(ValueError, match="frozen"):
        config.train.epochs = 5  # type: ignore[misc]

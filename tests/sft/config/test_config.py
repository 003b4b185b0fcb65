from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from compute.select import state_folder
from sft.config import load, load_parameter
from sft.config.profiles import PROFILES, profiles
from sft.config.train import TrainConfig
from sft.dataset.settings import DatasetConfig
from sft.errors import ConfigError
from sft.settings import Section


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
    assert TrainConfig(epochs=3).steps(640 / 8) == 30


def test_all_errors_are_reported_at_once_with_key_value_and_what_is_allowed() -> None:
    text = problems("smoke", "train.learning_rate=-1", "train.learnin_rate=3", "engine=tensorflow", "train.max_steps=0")
    assert "4 problems" in text
    assert "train.learning_rate: Input should be greater than 0 (found -1)" in text
    assert "train.learnin_rate: no such key; did you mean learning_rate?" in text
    assert "engine: Input should be 'erniekit' or 'paddleformers' or 'transformers' (found 'tensorflow')" in text
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


@pytest.mark.parametrize("profile", ["", " ", "none.yaml"])
def test_a_profile_that_is_none_is_refused_with_those_that_are(profile: str) -> None:
    assert "nightly, smoke, t4, torch-full, torch-lora, or the path of a .yaml file" in problems(profile)


def test_a_profile_outside_configs_must_be_a_yaml_path() -> None:
    assert "unknown profile" in problems("../configs/smoke")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [", ":1"),
        (b"train:\n\tepochs: 3", "not with tabs"),
        (b"- a", "mapping of keys to values (found a list)"),
        (b"", "(found nothing)"),
        (b"train: {epoch: 1}", "train.epoch: no such key"),
        (b"name: caf\xe9", "not UTF-8"),
    ],
)
def test_a_broken_profile_file_names_the_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    text = problems(str(path))
    assert said in text
    assert str(path) in text or path.name in text
    assert "Next: " in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_profile_is_read_from_the_home_folder_whatever_saved_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.YAML").write_text("profile: smoke\r\nname: mine\r\n", encoding=encoding)
    assert load("~/mine.YAML").config.name == "mine"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train=3", "train: it is a section: give its keys, such as train.max_steps (found 3)"),
        ("dataset.digits=[1]", "dataset.digits: it is a section: give its keys, such as dataset.digits.train_rows"),
        ("dataset.rules=off", "dataset.rules: it is a mapping: {KEY: VALUE} (found 'off')"),
        ("base_model.repo=PaddleOCR-VL", "base_model.repo: Repository on the HF Hub (owner/name): string should match"),
        ("notify.blocks=slack-webhook/x", "notify.blocks: it is a list: [VALUE, …] (found 'slack-webhook/x')"),
    ],
)
def test_a_value_of_another_kind_is_said_in_the_words_of_yaml(setting: str, said: str) -> None:
    assert f"--set: {said}" in problems("smoke", setting)


def test_yaml_tags_do_not_run_code(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: !!python/object/apply:os.system ['touch {tmp_path}/owned']")
    assert "YAML" in problems(str(path))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("setting", ["train.epochs", "=3", "train..epochs=3"])
def test_an_override_without_key_or_value_is_refused(setting: str) -> None:
    assert "--set takes key=value" in problems("smoke", setting)


def test_the_profile_is_the_argument() -> None:
    assert "as an argument" in problems("smoke", "profile=full")


def test_every_value_tells_its_source() -> None:
    lines = {key: (value, source) for key, value, source in load("smoke", ["train.epochs=3"]).lines()}
    assert lines["train.epochs"] == ("3.0", "--set")
    assert lines["train.max_steps"] == ("520", "smoke.yaml")
    assert lines["evaluate.examples"] == ("100", "default")


def test_a_profile_and_what_differs_make_a_configuration() -> None:
    given = {"profile": "smoke", "train": {"max_steps": 7}}
    config = load_parameter(given).config
    assert (config.engine, config.train.max_steps, config.train.batch_size) == ("paddleformers", 7, 16)
    assert load_parameter({"train": {"max_steps": 7}}, "smoke").config == load("smoke", ["train.max_steps=7"]).config


@pytest.mark.parametrize("profile", profiles())
def test_the_whole_of_a_profile_is_the_profile(profile: str) -> None:
    resolved, whole = load(profile), load(profile).config.model_dump(mode="json")
    assert load_parameter(whole).config == resolved.config
    assert [line for line in load_parameter(whole).lines() if line[2] == "parameter"] == [
        ("profile", profile, "parameter")
    ]


def form(profile: str, *settings: str) -> dict[str, Any]:
    """What Prefect's form holds, opened and not yet changed."""
    return load(profile, settings).config.model_dump(mode="json")


def test_a_field_that_is_cleared_in_the_form_is_empty_or_the_profiles(tmp_path: Path) -> None:
    """The form leaves out what is cleared (Prefect 3.9.1, both interfaces: see tests/flows/test_deployments.py)."""
    path = tmp_path / "mine.yaml"
    text = (PROFILES / "lora.yaml").read_text()
    path.write_text(text + "budget: {max_hours: 5}\noutput: {folder: there}\npromote: {margin: 0.01}\n")
    given = form(str(path))
    del given["budget"]["max_hours"], given["dataset"]["train"], given["train"]["learning_rate"]
    del given["output"]["folder"], given["promote"]["margin"]
    given["dataset"] |= {"volume": "samples/bengali", "held_out": ""}
    config = load_parameter(given).config
    assert (config.budget.max_hours, config.dataset.train) == (None, "")
    assert (config.train.learning_rate, config.output.folder, config.promote.margin) == (5e-4, "there", 0.01)
    given["train"]["lora"] = None
    assert load_parameter(given).config.train.lora is None


def test_a_rule_that_is_taken_away_in_the_form_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((PROFILES / "full.yaml").read_text().replace("dataset:\n", "dataset:\n  rules: {duplicate: off}\n"))
    given = form(str(path))
    assert given["dataset"]["rules"] == {"duplicate": "off"}
    given["dataset"]["rules"] = {"near-empty": "error"}
    assert load_parameter(given).config.dataset.rules == {"near-empty": "error"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": {"epochs": 3}}, "name a profile"),
        ({"profile": "fulll"}, "did you mean full?"),
        ({"profile": "smoke", "train": {"epoch": 3}}, "parameter: train.epoch: no such key; did you mean epochs?"),
        ({"profile": "smoke", "train": {"epochs": 0}}, "parameter: train.epochs: Input should be greater than 0"),
    ],
)
def test_a_parameter_that_cannot_be_run_says_why(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_parameter(given)
    assert said in str(caught.value)


def test_a_profile_may_lie_over_another_one(tmp_path: Path) -> None:
    path = tmp_path / "receipts.yaml"
    path.write_text("profile: smoke\nname: receipts\n")
    resolved = load(str(path), ["train.epochs=3"])
    lines = {key: (value, source) for key, value, source in resolved.lines()}
    assert lines["name"] == ("receipts", "receipts.yaml")
    assert lines["train.max_steps"] == ("520", "smoke.yaml")
    assert resolved.config.profile == str(path)
    path.write_text(f"profile: {path}\n")
    assert "leads back" in problems(str(path))


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


def test_the_home_folder_is_meant_by_a_tilde_that_no_shell_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    config = DatasetConfig(train="~/train.jsonl", held_out="held.jsonl")
    assert (config.train, config.held_out) == ("/home/anna/train.jsonl", "held.jsonl")
    assert load("smoke", ["output.folder=~/models"]).config.output.folder == "/home/anna/models"
    monkeypatch.setenv("SFT_HOME", "~/state")
    assert str(state_folder()) == "/home/anna/state"

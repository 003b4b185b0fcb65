"""YAML 1.2's core schema, texts by the field's type, and keys that stand twice.

Right values: YAML 1.2.2, section 10.3.2, and the examples that users of YAML 1.1 readers report.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from sft.config import RunConfig, load
from sft.config.yaml import read_yaml
from sft.errors import ConfigError

MINE = """name: mine
compute: local
engine: paddleformers
dataset: {digits: {train_rows: 64, held_out_rows: 20}}
base_model: {source: hub, repo: owner/model, family: "0.9B"}
train: {precision: float32, max_steps: 5}
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(word, word) for word in ("on", "off", "yes", "no", "On", "NO", "y", "n")],
        *[("true", True), ("False", False), ("null", None), ("~", None), ("", None)],
        *[("5e-6", 5e-6), ("1e5", 1e5), (".5", 0.5), ("-.inf", -math.inf), ("+3", 3), ("0o17", 15), ("0x1F", 31)],
        *[("007", 7), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("1_000", "1_000"), ("=", "=")],
        *[("'5'", "5"), ('"true"', "true"), ("!!str 5", "5"), ("!!int '5'", 5)],
    ],
)
def test_a_plain_scalar_is_what_the_core_schema_says(text: str, value: Any) -> None:
    read = read_yaml(text, Any)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    "text", ["0005747", "1e5", "12345678", "9509425349e4", "true", "no", "2024-01-01", "0x1F", "1.0"]
)
def test_a_text_field_takes_what_is_written(tmp_path: Path, text: str) -> None:
    """Every way to give a value: --set, in a mapping after --set, and in a profile."""
    path = tmp_path / "mine.yaml"
    path.write_text(MINE + f"output: {{folder: {text}}}\nwheel: {{sha256: {'1' * 64}}}\n")
    config = load(
        str(path), [f"base_model.revision={text}", f"dataset={{train: {text}, digits: null, held_out: x}}"]
    ).config
    assert (config.output.folder, config.base_model.revision, config.dataset.train) == (text, text, text)
    assert config.wheel.sha256 == "1" * 64


def test_a_text_after_set_is_taken_whole_unless_it_is_quoted() -> None:
    for given, text in (
        ("a #1.jsonl", "a #1.jsonl"),
        ("[a].jsonl", "[a].jsonl"),
        ("x: y", "x: y"),
        ("'5'", "5"),
        ("", ""),
    ):
        settings = ["dataset.digits=null", "dataset.held_out=h", "dataset.volume=v", f"dataset.train={given}"]
        assert load("smoke", settings).config.dataset.train == text


def test_the_words_of_the_documentation_are_what_it_says() -> None:
    settings = ["notify={on: [failed], blocks: [slack-webhook/x]}", "dataset.rules={duplicate: off}"]
    config = load("smoke", settings).config
    assert (config.notify.on, config.notify.blocks) == (("failed",), ("slack-webhook/x",))
    assert config.dataset.rules == {"duplicate": "off"}
    assert load("smoke", ["dataset.rules.duplicate=off", "name=no"]).config.name == "no"


def test_keys_are_texts() -> None:
    prices = {"budget": {"prices": {"4090": 2}}}
    assert read_yaml("budget: {prices: {4090: 2}}", RunConfig) == prices
    assert read_yaml("on: 1\nnull: 2\n", Any) == {"on": 1, "null": 2}


def test_a_key_that_stands_twice_is_an_error_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE + "promote:\n  min_rows: 5\n  margin: 0.1\n  'min_rows': 6\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:10: .*'min_rows' stands twice, in the lines 8 and 10"):
        load(str(path))
    path.write_text(MINE + "train: {save_steps: 5}\n")
    with pytest.raises(ConfigError, match="'train' stands twice, in the lines 6 and 7"):
        load(str(path))
    with pytest.raises(ConfigError, match="'near-empty' stands twice"):
        load("smoke", ["dataset.rules={near-empty: error, near-empty: off}"])


def test_anchors_and_merged_mappings_may_be_overridden() -> None:
    text = "base: &base {rank: 8, seed: 1}\nover: {<<: *base, rank: 16}\n"
    assert read_yaml(text, Any)["over"] == {"rank": 16, "seed": 1}


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "? [a]\n: b", "a: !!int x", "a: !!python/object/apply:os.getcwd []", "a: 1\n---\nb: 2"]
)
def test_what_cannot_be_read_is_a_yaml_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text, Any)

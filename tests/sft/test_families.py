"""What is known of a base model's family, and that nobody trains one with another's prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sft.config import load
from sft.errors import ConfigError, IntegrityError
from sft.families import FAMILIES, TINY, V0_9B, V1_5, V1_6, differs, of_repository
from sft.smoke import tiny
from sft.training import parity

# Written after chat_template.jinja of 0.9B, as public programs quote it (read November 2026; that text, rendered by
# hand, asks the same). Of 1.5 and 1.6 only the prompt was read, as programs that serve them write it. The Hub's own
# files were not at hand.
HUB = (
    "{%- set cls_token = '<|begin_of_sentence|>' -%}{%- set eos_token = '</s>' -%}{{- cls_token -}}"
    "{%- for message in messages -%}{%- if message['role'] == 'user' -%}{{- 'User: ' -}}"
    "{%- for content in message['content'] -%}{%- if content['type'] == 'image' -%}"
    "{{ '<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>' }}{%- endif -%}{%- endfor -%}"
    "{%- for content in message['content'] -%}{%- if content['type'] == 'text' -%}{{ content['text'] }}{%- endif -%}"
    "{%- endfor -%}{{ '\\n' }}{%- elif message['role'] == 'assistant' -%}{{- 'ASKS' -}}"
    "{%- for content in message['content'] -%}{{ content['text'] }}{%- endfor -%}{{ eos_token }}{%- endif -%}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- 'ASKS' -}}{%- endif -%}"
)


def template(family: Any) -> str:
    return HUB.replace("ASKS", family.asks.removeprefix("\n").replace("\n", "\\n"))


@pytest.mark.parametrize("family", [V0_9B, V1_5, V1_6], ids=lambda family: family.name)
def test_a_familys_own_template_asks_what_is_trained(family: Any, tmp_path: Path) -> None:
    assert differs(family, template(family)) is None
    (tmp_path / "chat_template.jinja").write_text(template(family))
    parity.check_family(tmp_path, family)
    other = V1_5 if family is V0_9B else V0_9B
    with pytest.raises(IntegrityError, match=f"is no PaddleOCR-VL-{other.name}: its chat template asks"):
        parity.check_family(tmp_path, other)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("{{ '\\n' }}", "{{ ' ' }}"),
        ("<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>", "<|IMAGE_END|><|IMAGE_PLACEHOLDER|><|IMAGE_START|>"),
        ("User: ", "USER: "),
        ("{{- cls_token -}}", ""),
    ],
    ids=["newline", "swapped tags", "role", "no beginning"],
)
def test_a_template_that_asks_otherwise_is_refused_with_both(right: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text(template(V1_5).replace(right, wrong))
    with pytest.raises(IntegrityError) as told:
        parity.check_family(tmp_path, V1_5)
    assert repr(V1_5.prompt("OCR:")) in str(told.value)
    assert "base_model.family" in str(told.value)


@pytest.mark.parametrize("text", ["{% for %}", "{{ messages.__class__.__mro__ }}", "{{ raise_exception('no') }}"])
def test_a_template_that_is_none_or_reaches_out_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text(text)
    with pytest.raises(IntegrityError):
        parity.check_family(tmp_path, V0_9B)
    with pytest.raises(IntegrityError):
        parity.check_family(tmp_path / "none", V0_9B)


def test_the_tiny_model_asks_as_its_family_does(tmp_path: Path) -> None:
    tiny.write_model_files(tmp_path)
    parity.check_family(tmp_path, TINY)


def test_a_repository_names_its_family() -> None:
    assert of_repository("paddlepaddle/paddleocr-vl-1.6") is V1_6
    assert of_repository("somebody/PaddleOCR-VL-1.6") is None
    assert len({name for family in FAMILIES.values() for name in family.repositories}) == 3


FILES = ("dataset.train=a.jsonl", "dataset.held_out=b.jsonl")


@pytest.mark.parametrize(
    ("profile", "settings", "said"),
    [
        ("torch-full", ["base_model.repo=me/tuned"], "is no known PaddleOCR-VL (PaddlePaddle/PaddleOCR-VL, "),
        ("torch-full", ["base_model.repo=me/tuned"], "base_model.family=0.9B, 1.5, 1.6"),
        ("full", ["base_model.repo=PaddlePaddle/PaddleOCR-VL-1.5"], "engine erniekit does not train PaddleOCR-VL-1.5"),
        ("full", ["base_model.repo=me/t", "base_model.family=1.6"], "engine erniekit does not train PaddleOCR-VL-1.6"),
        ("lora", ["base_model.repo=PaddlePaddle/PaddleOCR-VL", "base_model.family=1.5"], "is 0.9B; leave"),
        ("full", ["train.augment=template"], "train.augment template needs engine paddleformers"),
    ],
)
def test_a_base_that_cannot_be_trained_as_it_was_is_refused_before_anything_is_fetched(
    profile: str, settings: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as told:
        load(profile, [*FILES, *settings])
    assert said in str(told.value)


def test_what_a_run_asks_follows_the_family() -> None:
    newer = load("lora", [*FILES, "base_model.repo=me/tuned", "base_model.family=1.5"]).config
    assert newer.family is V1_5
    assert newer.spec(10).asks == "\nAssistant:\n"
    older = load("full", FILES).config
    assert older.family is V0_9B
    assert not {"asks", "augment"} & older.spec(10).identity().keys(), "trainings of before keep their identity"
    assert newer.spec(10).identity()["asks"] == "\nAssistant:\n"

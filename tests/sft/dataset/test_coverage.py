"""What a tokenizer lacks is said of each row, and what a script costs of each file.

The tokenizer is tokenizers' own BPE with ``byte_fallback``, as transformers converts sentencepiece's
(``SpmConverter`` in transformers/convert_slow_tokenizer.py): the Hub's tokenizer.json of PaddleOCR-VL was not at
hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sft.dataset.coverage import LEAST
from sft.dataset.findings import Report
from sft.dataset.settings import DatasetConfig
from sft.dataset.tokens import Limits
from sft.dataset.validate import validate_file
from sft.report.dataset import write_dataset_report
from sft.smoke import tiny
from tests.conftest import Dataset

KNOWN = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:éআমর"


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    """Of a base model whose tokenizer knows Latin, three letters of Bengali, and one pair of them."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *KNOWN, "আম"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    model = models.BPE(vocab=vocabulary, merges=[("আ", "ম")], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return Limits.of_model(folder, max_seq_len=4096)


def found(dataset: Dataset, limits: Limits, *answers: str, images: bool = False, **config: object) -> Report:
    rows = [dataset.row(f"./{number}.png", answer) for number, answer in enumerate(answers)]
    if images:
        for number in range(len(answers)):
            dataset.image(f"{number}.png", shade=number)
    path = dataset.write("t.jsonl", rows)
    return validate_file(path, DatasetConfig.model_validate(config), limits, images=images)


@pytest.mark.parametrize("images", [False, True])
def test_characters_that_become_bytes_are_named_once_a_text(dataset: Dataset, limits: Limits, images: bool) -> None:
    report = found(dataset, limits, "plain text", "আমর", "কআখক and é", "ঙচছজঝঞট", images=images)
    assert report.counts == {"character-bytes": 2}
    assert report.errors == 0
    first, second = report.shown
    assert first.where.endswith("t.jsonl:3")
    assert first.value == "answer 1: ক U+0995 (3 tokens), খ U+0996 (3 tokens)"
    assert second.value.startswith("answer 1: ঙ U+0999 (3 tokens), ")
    assert second.value.endswith("ঝ U+099D (3 tokens) and 2 more")


def test_a_rule_that_is_off_is_not_asked(dataset: Dataset, limits: Limits) -> None:
    report = found(dataset, limits, "কআখক and é", rules={"character-bytes": "off"})
    assert not report.counts
    assert found(dataset, limits, "কআখক", rules={"character-bytes": "error"}).errors == 1


def test_characters_without_any_token_are_lost(dataset: Dataset, tmp_path: Path) -> None:
    tiny.write_model_files(tmp_path)  # its tokenizer has neither bytes nor letters beyond ASCII
    report = found(dataset, Limits.of_model(tmp_path, max_seq_len=512), "12 €", "12")
    assert report.counts == {"character-lost": 1}
    assert report.shown[0].value == "answer 1: € U+20AC"


def test_nothing_is_said_without_a_tokenizer(dataset: Dataset) -> None:
    report = found(dataset, Limits(), *["ঙচছজঝঞট ঙচছজঝঞট"] * 20)
    assert not report.counts
    assert report.train.summary()["scripts"] == {}


def test_a_script_that_is_spelled_in_bytes_is_dear(dataset: Dataset, limits: Limits, tmp_path: Path) -> None:
    answers = [f"{'আম' * 10} {number}" for number in range(LEAST // 20)]
    cheap = found(dataset, limits, *answers)
    assert cheap.train.summary()["scripts"] == {"Bengali": 0.5}  # the pair is one token
    assert not cheap.counts

    report = found(dataset, limits, *(f"{'খগ' * 10} {number}" for number in range(LEAST // 20)))
    assert report.counts == {"character-bytes": LEAST // 20, "script-tokens": 1}
    (said,) = [finding for finding in report.shown if finding.rule == "script-tokens"]
    assert said.value == f"Bengali: 3.0 tokens a character, in {LEAST} characters that were looked at"
    assert report.train.summary()["scripts"] == {"Bengali": 3.0}
    write_dataset_report(tmp_path / "report.html", report)
    assert "by script: Bengali 3.0 <small>" in (tmp_path / "report.html").read_text()


def test_a_token_of_several_scripts_counts_for_its_first_letter(limits: Limits) -> None:
    from sft.dataset.coverage import coverage

    costs = coverage(limits.tokenizer).costs(["ab আম ক 12", "é"])
    assert costs == {"Bengali": (3, 4), "Latin": (3, 3), "digits": (2, 2)}

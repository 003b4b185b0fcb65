"""What a command says of itself: every profile, examples that do what they show, a usage that is true."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import cli.run
from cli import reference
from cli.base import CONFIGS, app
from cli.examples import EXAMPLES
from sft.config.profiles import PROFILES, profiles
from tests.cli.test_cli_faults import SFT, sft

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
assert cli.run, "imported, so that every command is registered"
# Examples that end otherwise than well where nothing has been trained: what they say.
ENDS = {
    "sft cancel": "no such training runs",
    **dict.fromkeys(EXAMPLES["promote"], "no finished training of that identity"),
    "sft rollback smoke": "no champion to go back to",
}
NOT_HERE = ("sft run smoke", "sft tensorboard")  # test_end_to_end.py; serves until Ctrl-C


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_and_every_profile(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    text = CliRunner().invoke(app, [name, "--help"]).output
    for example in EXAMPLES[name]:
        assert example in " ".join(text.split())
        words = shlex.split(example)
        assert words[:2] == ["sft", name]
        assert COMMANDS[name].make_context(name, words[2:]), example
    if "profile" in [parameter.name for parameter in COMMANDS[name].params]:
        assert set(profiles()) <= set(re.findall(r"[\w-]+", text))
    assert "{" not in reference.commands()


def test_it_says_its_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"sft {version('paddleocr-vl-sft')}\n"


def test_the_help_looks_where_the_configuration_looks() -> None:
    assert CONFIGS == PROFILES


@pytest.mark.parametrize("line", re.findall(r"^    (sft .*) \[OPTIONS\]$", reference.commands(), re.M))
def test_a_usage_line_needs_what_it_shows_without_brackets_and_no_more(line: str) -> None:
    _, name, *words = re.sub(r" \[\w+…?\]", "", line).replace("--to TO", "--to messages").split()
    assert COMMANDS[name].make_context(name, list(words))
    for left_out in range(len(words)):
        fewer = CliRunner().invoke(app, [name, *words[:left_out], *words[left_out + 1 :]])
        assert (fewer.exit_code, "Missing" in fewer.output or "requires an argument" in fewer.output) == (2, True)


def test_examples_that_need_no_account_do_what_they_show(tmp_path: Path) -> None:
    (tmp_path / "receipts").mkdir()
    for number in range(12):
        Image.effect_noise((96, 32), number + 9).save(tmp_path / "receipts" / f"{number}.png")
        (tmp_path / "receipts" / f"{number}.txt").write_text(f"total {number}")
    typed = [e for examples in EXAMPLES.values() for e in examples]
    at_modal = ("full", "sft deploy", "sft sample", "sft upload")
    here = [e for e in typed if not e.startswith(NOT_HERE) and not any(word in e for word in at_modal)]
    assert len(here) > 14
    for example in here:
        process = sft(tmp_path, example.replace("sft", SFT, 1), {})
        text = process.stdout + process.stderr
        said = ENDS.get(example)
        assert (process.returncode, (said or "") in text) == (2 if said else 0, True), f"{example}\n{text}"
    assert (tmp_path / "read" / "1.md").exists()
    assert (tmp_path / "dataset.html").exists()

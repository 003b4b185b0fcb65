"""The pages for people: links lead somewhere, what they name is there, commands parse, the reference is made anew."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import cli.run
from cli import reference
from cli.base import app
from sft import errors
from sft.config import RunConfig
from sft.config.profiles import PROFILES, layers, leaves, profiles
from tests.test_architecture import ROOMS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
assert cli.run, "imported, so that every command is registered"


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    return re.sub(r"^ {4}.*$", "", text, flags=re.M)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        place = page if not name else (page.parent / name).resolve()
        assert place.exists(), f"{page.name} links {target}"
        assert not anchor or anchor in anchors(place), f"{page.name} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    rooms = "|".join([*ROOMS, "configs", "docs", "tests", "benchmarks", "scripts"])
    for name in re.findall(rf"`((?:{rooms})/[\w./-]*)`", prose(page)):
        deployment = name.removeprefix("sft/") in profiles()
        if page.name != "extending.md" and not deployment:  # that page names files that its reader makes
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def code(text: str) -> Iterator[str]:
    """The lines of a page's blocks of code, fenced or indented, at any depth of a list."""
    fence = ""
    for line in text.splitlines():
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and not (fence and not mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif fence or re.match(r" {4}|\t", line):
            yield line.strip()


def written() -> Iterator[tuple[str, list[str]]]:
    """(place, words) of each ``sft`` command in a page's blocks of code and at the head of a profile."""
    lines = [(page.name, line) for page in PAGES for line in code(page.read_text())]
    heads = [(path.name, path.read_text().splitlines()[0][2:].partition(": ")[0]) for path in PROFILES.glob("*.yaml")]
    for place, line in [*lines, *heads]:
        text = line.removeprefix("$ ").removeprefix(".venv/bin/")
        if text.startswith("sft ") and "[OPTIONS]" not in text:
            yield place, shlex.split(text, comments=True)


def test_every_command_that_a_page_shows_is_one() -> None:
    found = list(written())
    assert len({place for place, _ in found}) > 5
    for place, words in found:
        assert words[1] in COMMANDS, f"{place}: {' '.join(words)}"
        command = COMMANDS[words[1]]
        # Parsing alone: nothing runs. A wrong option or argument raises UsageError.
        assert command.make_context(words[1], words[2:]), f"{place}: {' '.join(words)}"


def test_every_command_that_a_sentence_names_has_those_options() -> None:
    found = [
        (page.name, named) for page in PAGES for named in re.findall(r"`(?:\.venv/bin/)?sft ([^`]+)`", prose(page))
    ]
    assert len(found) > 20
    for place, named in found:
        words = shlex.split(named)
        options = {option for parameter in COMMANDS[words[0]].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, f"{place}: sft {named}"


def test_blocks_of_code_are_read_whether_fenced_or_indented() -> None:
    lines = ["a", "", "    one", "```bash", "two", "    three", "```", "- b", "  ~~~", "  four", "  ~~~", "c `five`"]
    page = "\n".join([*lines, "````", "```", "six", "````", "d"])
    assert list(code(page)) == ["one", "two", "three", "four", "```", "six"]


def test_the_made_pages_are_what_make_docs_writes() -> None:
    # A profile that somebody has just added, and not yet committed, makes it no other.
    kept = [name for name in profiles() if f"configs/{name}.yaml" in git_files()]
    made = {reference.configuration(), reference.configuration(kept)}
    assert (ROOT / "docs" / "configuration.md").read_text() in made, "run make docs"
    assert (ROOT / "docs" / "commands.md").read_text() == reference.commands(), "run make docs"


NO_UNIT = {"seed", "learning_rate", "min_learning_rate", "weight_decay", "rank", "alpha"}


def test_every_number_has_its_unit_and_every_value_the_profiles_that_set_it() -> None:
    rows = [line.split(" | ") for line in reference.configuration().splitlines() if line.startswith("| `")]
    numbers = [row for row in rows if "number" in row[1]]
    assert len(numbers) > 40
    without = {row[0].strip("| `").rpartition(".")[2] for row in numbers if not row[2]}
    assert without == NO_UNIT, "say it in the field's description, in brackets"
    by_key = {row[0].strip("| `"): row for row in rows}
    assert [by_key[f"train.{key}"][2] for key in ("stall_minutes", "max_seq_len")] == ["minutes", "tokens"]
    assert (by_key["modal.memory_mb"][2], by_key["promote.margin"][2]) == ("MiB", "fraction")
    for name in profiles():
        for key, value in leaves(layers(name, RunConfig)[-1][1]):
            if key in by_key:
                assert re.search(rf"\b{name}\b[^;]*: `{re.escape(str(value))}`", by_key[key][4], re.I), (name, key)


def test_every_key_and_every_command_stands_in_the_reference() -> None:
    keys = re.findall(r"^\| `([\w.]+)`", reference.configuration(), re.M)
    assert {"train.max_steps", "budget.prices", "dataset.digits.seed", "promote.min_rows", "name"} <= set(keys)
    assert len(keys) == len(set(keys)) > 70
    assert re.findall(r"^## sft ([\w-]+)$", reference.commands(), re.M) == list(COMMANDS)


def test_operations_names_every_error_that_a_person_may_see() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.SftError)]
    assert len(kinds) > 10
    for kind in kinds:
        row = re.search(rf"^\|[^|]*`{kind.__name__}`[^|]*\| (\d) \|", text, re.M)
        assert row, kind
        if kind not in (errors.Detached, errors.Unchanged):  # they end no command as failures
            assert int(row[1]) == kind.exit_code, kind


def git_files() -> list[str]:
    """The files that git keeps: what a user puts beside them (receipts/, read/) is none of the project's."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"this is no checkout: {listed.stderr.strip()}")
    return [name for name in listed.stdout.split("\0") if name]


def test_readme_is_a_newcomers_page_and_its_map_is_the_folders() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 150
    named = [name for line in lines if line.startswith("| `") for name in re.findall(r"`(\w+)/`", line)]
    assert named[: len(ROOMS)] == list(ROOMS), "in the order of the arrows"
    folders = {name.split("/")[0] for name in git_files() if "/" in name}
    kept = {name for name in folders if not name.startswith(".")}
    assert set(named) == kept, "a row of the map for each folder of the repository, and for no other"
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in README.read_text(), page.name

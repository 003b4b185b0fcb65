"""Commands around datasets: check, look at, convert, import, split, and fetch remote images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.base import NAMES, guarded, say
from sft.errors import InputError, check_all

if TYPE_CHECKING:
    from sft.dataset.findings import Report
    from sft.dataset.validate import Progress

PANEL = "Datasets"
Source = Annotated[Path, typer.Argument(help="A dataset file: .jsonl, .jsonl.gz or .jsonl.zst")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist")]


class Format(StrEnum):
    """The two row formats."""

    erniekit = "erniekit"
    messages = "messages"


class Look(StrEnum):
    """How closely images are looked at."""

    content = "content"
    headers = "headers"
    decode = "decode"
    none = "none"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, body in (
        ("validate", validate),
        ("convert", convert),
        ("import", import_),
        ("split", split),
        ("fetch-images", fetch_images),
    ):
        app.command(name, rich_help_panel=PANEL)(body)


@contextmanager
def _bar(out: Console) -> Iterator[Progress]:
    """A progress bar with rows/s and the time that is left, on a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not out.is_terminal) as progress:
        bars: dict[str, Any] = {}

        def said(split: str, done: int, total: int, rows: int) -> None:
            if split not in bars:
                bars[split] = progress.add_task(split, total=total, rate="")
            task = progress.tasks[bars[split]]
            rate = f"{rows / task.elapsed:,.0f} rows/s" if task.elapsed else ""
            progress.update(bars[split], completed=done, rate=rate)

        yield said


def validate(
    path: Source,
    held_out: Annotated[
        Path | None, typer.Option(help="A second file, which must share nothing with the first")
    ] = None,
    dev: Annotated[
        Path | None, typer.Option(help="A third file, beside --held-out: it must share nothing with that one")
    ] = None,
    images: Annotated[
        Look,
        typer.Option(help="content: headers and hashes; headers: sizes only; decode: every pixel; none: texts only"),
    ] = Look.content,
    rule: Annotated[
        list[str], typer.Option(metavar="RULE=KIND", help="error, warning or off, such as near-empty=error")
    ] = [],  # noqa: B006 (typer copies it)
    max_seq_len: Annotated[
        int | None, typer.Option(help="Longest row (tokens, image and text); 16384, or the profile's")
    ] = None,
    profile: Annotated[
        str,
        typer.Option(help=f"Check as a profile's run does (rules, prompts, longest row): one of {NAMES}, or a file"),
    ] = "",
    model: Annotated[
        Path | None, typer.Option(help="Folder of the base model: its tokenizer and image bounds count exactly")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0: as many as the work is worth")] = 0,
    shown: Annotated[int, typer.Option(help="Findings shown for each rule; all are counted")] = 5,
    report: Annotated[Path | None, typer.Option(help="Write a page with counts, histograms, examples")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
) -> None:
    """Check a dataset file: every row, every text, every image's header. Exit code 2 if it cannot be trained on."""

    def body(out: Console) -> None:
        from cli.options import as_profile, dataset_config
        from runs.checking import check_folder, check_tokenizer
        from sft.dataset import validate as validator
        from sft.dataset.reading import detect_file
        from sft.dataset.settings import DatasetConfig
        from sft.report.dataset import write_dataset_report

        settings = (rule, "content" if images is Look.none else images.value, workers, shown)
        check_all(
            lambda: dataset_config(*settings),
            lambda: as_profile(profile, DatasetConfig(), max_seq_len, None),
            *(partial(detect_file, file) for file in (path, held_out, dev) if file is not None),
            *(partial(_check_dev, held_out) for _ in (dev,) if dev is not None),
            *(partial(check_tokenizer, folder) for folder in (model,) if folder is not None),
            *(partial(check_folder, page.parent) for page in (report,) if page is not None),
        )
        config, limits = as_profile(profile, dataset_config(*settings), max_seq_len, model)
        look = images is not Look.none
        with _bar(out) as progress:
            if held_out is not None:
                result = validator.validate(path, held_out, config, limits, dev=dev, images=look, progress=progress)
            else:
                result = validator.validate_file(path, config, limits, images=look, progress=progress)
        if report is not None:
            write_dataset_report(report, result)
        if as_json:
            print(json.dumps(result.as_dict(), ensure_ascii=False))
        else:
            _tell(out, result, report)
        result.check()

    guarded(body)


def _check_dev(held_out: Path | None) -> None:
    if held_out is None:
        said = "a dev set is compared with the held-out set"
        raise InputError(said, where="--dev", remedy="name that one, too: --held-out FILE")


def _tell(out: Console, result: Report, page: Path | None) -> None:
    if not result.errors:  # with errors, the error has all of it
        for line in result.lines():
            say(out, line)
    for stats in result.splits:
        if not stats.path:
            continue
        tasks = ", ".join(f"{task} {count}" for task, count in sorted(stats.tasks.items()))
        verdict = "" if result.errors else ": valid"
        text = f"{stats.path}: {stats.rows} rows ({tasks}), {stats.images} images, format {stats.format}{verdict}"
        say(out, text)
    if page is not None:
        say(out, f"report: {page.resolve()}")


def convert(
    source: Source,
    target: Annotated[Path, typer.Argument(help="The new file, in the same folder: image paths stay as they are")],
    to: Annotated[Format, typer.Option(help="The format wanted: erniekit or messages")],
    force: Force = False,
) -> None:
    """Convert rows between ERNIEKit's and PaddleFormers' format, without loss.

    Tables in HTML or Markdown become OTSL, also where the format stays.
    """

    def body(out: Console) -> None:
        from sft.dataset import convert as converter

        count = converter.convert(source, target, to.value, force=force)
        say(out, f"{target}: {count} rows in format {to.value}")

    guarded(body)


def import_(
    source: Annotated[Path, typer.Argument(help="A folder, or a list of images and texts; docs/importing.md has all")],
    target: Annotated[Path, typer.Argument(help="The dataset file to write; images go beside it")],
    task: Annotated[
        str,
        typer.Option(help="What the texts are: ocr, table, formula, chart, spotting, seal, or a prompt of your own"),
    ] = "ocr",
    to: Annotated[Format, typer.Option(help="The row format: erniekit or messages")] = Format.erniekit,
    image_column: Annotated[str, typer.Option(help="Of a table or list; else the usual names")] = "",
    text_column: Annotated[str, typer.Option(help="Of a table or list; else the usual names")] = "",
    images: Annotated[Path | None, typer.Option(help="Where the images lie, if not beside the list")] = None,
    encoding: Annotated[str, typer.Option(help="Of texts that are not UTF-8, such as gb18030")] = "",
    split: Annotated[str, typer.Option(help="Of a folder with several: train, validation, test, or all")] = "",
    skip: Annotated[bool, typer.Option("--skip", help="Leave out, and count, entries that cannot be used")] = False,
    force: Force = False,
) -> None:
    """Make a dataset file of images with texts beside them, labels of PaddleOCR, Label Studio and others, CSV, JSON,
    Parquet or tar: docs/importing.md lists what is recognised."""

    def body(out: Console) -> None:
        from sft.dataset.importing import import_dataset
        from sft.dataset.layouts.base import Options

        columns = {"image_column": image_column, "text_column": text_column}
        options = Options(
            to.value, task, **columns, force=force, encoding=encoding, split=split, images=images, skip=skip
        )
        count = import_dataset(source, target, options, lambda text: say(out, text))
        say(out, f"{target}: {count} rows")

    guarded(body)


def split(
    source: Source,
    held_out: Annotated[float, typer.Option(help="Share of the documents that is set aside")] = 0.1,
    dev: Annotated[
        float, typer.Option(help="Share of the other documents that choose among checkpoints; 0: no such file")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed, another choice")] = 0,
    group: Annotated[
        str, typer.Option(help="Regular expression whose first group is the document in an image's path")
    ] = "",
    force: Force = False,
    profile: Annotated[
        str,
        typer.Option(
            help=f"Whose prompts have names, and whose volume volume:// is (else full's): one of {NAMES}, or a file"
        ),
    ] = "",
) -> None:
    """Split FILE.jsonl into FILE.train.jsonl, FILE.held_out.jsonl and, with --dev, FILE.dev.jsonl: by document.

    A file on the data volume (volume://FOLDER/FILE.jsonl) is split there."""

    def body(out: Console) -> None:
        if str(source).startswith("volume:/"):  # a path keeps one of two slashes
            from cli.splitting import split_there

            asked = {"share": held_out, "dev_share": dev, "seed": seed, "pattern": group, "force": force}
            split_there(
                str(source).partition(":/")[2].lstrip("/"), asked, profile or "full", lambda text: say(out, text)
            )
            return
        from cli.options import as_profile
        from sft.dataset import split as splitter
        from sft.dataset.settings import DatasetConfig
        from sft.dataset.tasks import known

        prompts = as_profile(profile, DatasetConfig(), None, None)[0].prompts
        name = source.name.partition(".jsonl")[0]
        train, aside, third = (source.with_name(f"{name}.{part}.jsonl") for part in ("train", "held_out", "dev"))
        shares = {"share": held_out, **({"dev": third, "dev_share": dev} if dev else {})}
        settings = {**shares, "seed": seed, "pattern": group, "force": force, "among": known(prompts)}
        result = splitter.split(source, train, aside, **settings)  # type: ignore[arg-type]
        for path, counts in ((train, result.train), (aside, result.held_out), (third, result.dev)):
            if not counts:
                continue
            tasks = ", ".join(f"{task} {count}" for task, count in sorted(counts.items()))
            say(out, f"{path}: {counts.total()} rows ({tasks})")
        for note in result.notes:
            say(out, f"note: {note}")
        from cli.announce import announce

        announce(train, lambda text: say(out, text))

    guarded(body)


def fetch_images(
    source: Source,
    target: Annotated[Path, typer.Argument(help="The new file; images go to images/ beside it")],
    workers: Annotated[int, typer.Option(help="Downloads at the same time")] = 16,
    private: Annotated[bool, typer.Option("--private", help="Follow addresses in private networks, too")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Fetch also what is there: it may have been corrected")
    ] = False,
) -> None:
    """Fetch the images that rows name by http(s) address or hold as base64, and write rows that name the files."""

    def body(out: Console) -> None:
        from sft.dataset.remote import localise

        def said(done: int, total: int) -> None:
            say(out, f"{done} of {total} images")

        count = localise(source, target, trusted=private, workers=workers, again=again, said=said)
        say(out, f"{target}: {count} images fetched")

    guarded(body)

"""A model reads pages where the profile computes; Markdown and JSON for each. Needs no Prefect."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from compute.base import Compute
from compute.select import compute_for
from runs.account import paid
from runs.fetched import known_base_model
from runs.named_models import place_of
from runs.readable import WHOLE, check_reading, check_task
from runs.waiting import Heard, run_job
from sft.config import RunConfig
from sft.dataset.answered import Answered, write_answers
from sft.download import download
from sft.errors import InputError, JobError, SftError, check_all, listed, without_secrets
from sft.families import Task
from sft.jobs.infer import InferArgs
from sft.jobs.parse_pages import ParsePagesArgs
from sft.models import pages, rendering
from sft.models.pages import Found, Page
from sft.plan import download_args
from sft.store import records

MAX_DOWNLOAD = 500_000_000  # bytes
TRIES = 3  # of one address: somebody waits
SHOWN = 20  # files that a message names
Said = Callable[[int, int], None]
Run = Callable[[Compute, str, dict[str, Any], Heard], dict[str, Any]]  # how a job is run to its end


def read_sources(
    config: RunConfig,
    sources: Sequence[str],
    model: str,
    task: str,
    out: Path,
    said: Said = lambda done, total: None,
    rows: Path | None = None,
    run: Run = run_job,
) -> Iterator[tuple[Page, str]]:
    """(page, Markdown) in order, each written to ``out`` as NAME.md and NAME.json; the page has the name it got there.

    Args:
        sources: images, PDF files, folders of them, or http(s) addresses.
        model: base, champion, the identity of a finished training (its first 16 digits suffice), or
            IDENTITY/checkpoint-N.
        task: of single elements by its name or its prompt; page for whole pages through PaddleOCR's parser.
        said: hears how many of how many pages are read.
        rows: a dataset file for the answers, too, as rows to train on.
        run: runs a job (compute, its name, its arguments, who hears its events).
    Raises:
        InputError: no such task, model or source, none of them can be read, or nothing can be written to ``out``.
        JobError: the rest is read, but these files cannot.
    """
    tasks: list[Task] = []
    check_all(lambda: check_reading(sources, model, out), lambda: tasks.append(check_task(task, config)))
    (asked,) = tasks
    compute = compute_for(config)
    place = place_of(config, compute, model)
    with tempfile.TemporaryDirectory(prefix="sft-pages-") as folder:
        found = found_in(sources, Path(folder))
        facts = {"task": task, "model": model, "place": place}
        with paid(config, compute, "read", f"{len(found)} pages with {model}"):
            if model == "base":
                _ensure_base(config, compute, run)
            results = _read(config, compute, place, found, asked, said, run)
        if rows is not None:
            answers = (Answered(p.image, asked.prompt, f["text"], f["cut"]) for p, (_, f) in zip(found, results))
            write_answers(rows, answers, f"{model} ({place})")
        for page, (content, more) in zip(found, results):
            md, _ = pages.write(out, page, content, {**facts, **more})
            yield replace(page, name=md.stem), content
    if found.broken:
        text = listed([str(error) for error in found.broken], SHOWN)
        count = f"{len(found.broken)} file{'s' if len(found.broken) > 1 else ''}"
        read = f"{len(found)} page{'s are' if len(found) > 1 else ' is'} read"
        raise JobError(f"{read}, but {count} could not be:{text}", remedy="see each line's advice")


def _ensure_base(config: RunConfig, compute: Compute, run: Run) -> None:
    """Fetch the base model, if it is not on the volume yet."""
    args = download_args(config)
    if known_base_model(compute, args.folder) is None:
        run(compute, "download_model", args.model_dump(), lambda event: None)


def found_in(sources: Sequence[str], work: Path) -> Found:
    """The pages of all sources. What one source cannot give is among the broken, if another can.

    Raises:
        InputError: nothing can be read at all.
        SftError: the only source cannot be fetched.
    """
    found = Found()
    for source in dict.fromkeys(sources):
        try:
            more = _pages(source, work)
        except SftError as error:
            found.broken.append(error)
        else:
            found += more
            found.broken += more.broken
    if not found:
        if len(found.broken) == 1:
            raise found.broken[0]
        text = listed([str(error) for error in found.broken], SHOWN)
        raise InputError(f"none of the files can be read:{text}", remedy="see each line's advice")
    return found


def _read(
    config: RunConfig, compute: Compute, place: str, found: Found, task: Task, said: Said, run: Run
) -> list[tuple[str, dict[str, Any]]]:
    """(Markdown, further facts) of each page."""
    images = tuple(_on_volume(compute, page.image) for page in found)
    where = {"device": "cpu" if config.on_cpu else "gpu", "gpu": config.reads_on}
    if task.name == WHOLE:
        names = {"pipeline": config.family.pipeline, "parser": config.family.parser}
        whole = ParsePagesArgs(model=place, images=images, layout=_layout(config, compute), **names, **where)
        read = run(compute, "parse_pages", whole.model_dump(mode="json"), _hears(said))["pages"]
        return [(page["markdown"], {"layout": page["layout"]}) for page in read]
    args = InferArgs(
        model=place,
        images=images,
        prompt=task.prompt,
        batch_size=config.evaluate.batch_size,
        max_new_tokens=config.evaluate.max_new_tokens,
        **where,
    )
    given = run(compute, "infer", args.model_dump(mode="json"), _hears(said))
    return [
        (
            rendering.markdown(task.measure, text),
            {"text": text, "cut": cut, **rendering.facts(task.measure, text, page.image)},
        )
        for page, text, cut in zip(found, given["texts"], given["cut"])
    ]


def _layout(config: RunConfig, compute: Compute) -> str:
    """The layout model that lies in the base model's repository, or an empty text."""
    place = f"{download_args(config).folder}/{config.family.layout}"
    return place if compute.list("models", place) else ""


def _hears(said: Said) -> Heard:
    """Passes on how many pages are read."""
    return lambda event: said(event["done"], event["rows"]) if event["event"] == "evaluate" else None


def _pages(source: str, work: Path) -> Found:
    if "://" not in source:
        return pages.pages(Path(source), work)
    name = PurePosixPath(unquote(urlsplit(source).path)).name or "page"
    place = work / ".fetched" / records.fingerprint(source)[:12]
    place.mkdir(parents=True)
    path = place / name
    download(source, path, max_bytes=MAX_DOWNLOAD, attempts=TRIES)
    if path.suffix.lower() not in (*pages.IMAGES, ".pdf"):  # the content says what it is
        path = path.rename(path.with_name(f"{path.name}{'.pdf' if path.read_bytes()[:5] == b'%PDF-' else '.png'}"))
    try:
        return Found(replace(page, source=without_secrets(source)) for page in pages.pages(path, work))
    except InputError as error:  # it names the copy
        raise InputError(error.message, where=source, value=error.value, remedy=error.remedy) from error


def _on_volume(compute: Compute, image: Path) -> str:
    """Where the job finds the image: here on one machine, or a copy on the data volume, named by its content."""
    if compute.name == "local":
        return str(image.resolve())
    name = f"inference/{records.hash_file(image)[:24]}{image.suffix.lower()}"
    compute.put("data", image, name)
    return name

"""From what people have to what a model reads: images, folders, PDF files and multi-page TIFFs become page images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence, UnidentifiedImageError

from sft import otsl, records
from sft.errors import InputError

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
DPI = 200  # of a rendered PDF page
MAX_PAGES = 2000  # of one file
MAX_PIXELS = 100_000_000  # of one page


@dataclass(frozen=True)
class Page:
    """One page: ``name`` is that of its results, ``image`` the file that is read, ``number`` counts from 1."""

    name: str
    image: Path
    source: str
    number: int = 1


def pages(source: Path, work: Path) -> list[Page]:
    """The pages of a file or of all files in a folder; what has to be rendered comes into ``work``.

    Raises:
        InputError: there is no such file, it is neither image nor PDF, damaged, protected, or far too large.
    """
    if not source.exists():
        raise InputError("no such file or folder", value=str(source), remedy="correct the path")
    if not source.is_dir():
        return list(_of_file(source, source.stem, work))
    files = [p for p in sorted(source.rglob("*")) if p.is_file() and p.suffix.lower() in (*IMAGES, ".pdf")]
    if not files:
        raise InputError(
            "no image and no PDF in the folder", value=str(source), remedy=f"known: {', '.join(IMAGES)}, .pdf"
        )
    found: list[Page] = []
    for path in files:
        name = path.relative_to(source).with_suffix("").as_posix().replace("/", "__")
        found += _of_file(path, name, work)
    return _distinct(found)


def _distinct(found: list[Page]) -> list[Page]:
    """Names of results that would meet (a.png, a.jpg) get their number behind."""
    seen: dict[str, int] = {}
    out = []
    for page in found:
        seen[page.name] = seen.get(page.name, 0) + 1
        name = page.name if seen[page.name] == 1 else f"{page.name}-{seen[page.name]}"
        out.append(Page(name, page.image, page.source, page.number))
    return out


def _of_file(path: Path, name: str, work: Path) -> Iterator[Page]:
    if path.suffix.lower() == ".pdf":
        yield from _of_pdf(path, name, work)
        return
    try:
        with Image.open(path) as image:
            count = getattr(image, "n_frames", 1)
            if image.width * image.height > MAX_PIXELS:
                raise InputError("the image is too large", where=str(path), value=f"{image.width} × {image.height} px")
            if count == 1 or image.format != "TIFF":  # an animation is one picture
                yield Page(name, path, str(path))
                return
            _bounded(path, count)
            for number, frame in enumerate(ImageSequence.Iterator(image), 1):
                yield _saved(frame.convert("RGB"), path, name, number, work)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        remedy = f"known: {', '.join(IMAGES)}, .pdf"
        raise InputError(f"it cannot be read as an image: {error}", where=str(path), remedy=remedy) from error


def _of_pdf(path: Path, name: str, work: Path) -> Iterator[Page]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        remedy = "open it in a viewer and save it anew, without a password"
        raise InputError(f"the PDF cannot be opened: {error}", where=str(path), remedy=remedy) from error
    try:
        _bounded(path, len(document))
        for number, page in enumerate(document, 1):
            width, height = page.get_size()  # points, 72 to the inch
            scale = min(DPI / 72, (MAX_PIXELS / max(width * height, 1)) ** 0.5)
            yield _saved(page.render(scale=scale).to_pil().convert("RGB"), path, name, number, work)
    finally:
        document.close()


def _bounded(path: Path, count: int) -> None:
    if count > MAX_PAGES:
        remedy = f"split it: at most {MAX_PAGES} pages a file"
        raise InputError("the file has too many pages", where=str(path), value=str(count), remedy=remedy)


def _saved(image: Image.Image, path: Path, name: str, number: int, work: Path) -> Page:
    work.mkdir(parents=True, exist_ok=True)
    target = work / f"{name}-p{number:04d}.png"
    image.save(target)
    return Page(target.stem, target, str(path), number)


def markdown(task: str, text: str) -> str:
    """What a model said as Markdown: OTSL becomes an HTML table, LaTeX a displayed formula, a chart's table a table."""
    if task == "table" and not otsl.problem(text):
        return otsl.to_html(text)
    if task == "formula":
        return f"$$\n{text.strip().strip('$')}\n$$"
    if task == "chart":
        lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.strip().splitlines()]
        if lines and len({len(line) for line in lines}) == 1 and len(lines[0]) > 1:
            lines.insert(1, ["---"] * len(lines[0]))
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text


def write(folder: Path, page: Page, content: str, facts: dict[str, Any]) -> tuple[Path, Path]:
    """NAME.md with the content and NAME.json with everything about it; returns both paths."""
    md, js = folder / f"{page.name}.md", folder / f"{page.name}.json"
    records.write_text(md, content.rstrip() + "\n")
    facts = {"source": page.source, "page": page.number, "markdown": content, **facts}
    records.write_text(js, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return md, js

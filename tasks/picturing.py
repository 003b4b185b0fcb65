"""What a sweep or a curve came to, as pictures and tables: in Prefect's UI, and as a page on this machine."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact

from sft.report import render
from sft.store import records


def show_picture(svg: str, key: str, description: str) -> None:
    """Put a picture beside the run."""
    content = base64.b64encode(svg.encode()).decode()
    create_image_artifact(f"data:image/svg+xml;base64,{content}", key=key, description=description)


def show_choice(
    folder: Path, title: str, key: str, svg: str, rows: Sequence[Sequence[str]], remarks: Sequence[str]
) -> Path:
    """Write the page ``report.html`` into ``folder``, and put picture, table and a link to the page beside the run.

    Args:
        rows: of the table, its head first.
    """
    page = folder / "report.html"
    records.write_text(page, render("choice.html.jinja", title=title, picture=svg, rows=rows, remarks=remarks))
    said = "\n".join(("", *(f"- {remark}" for remark in remarks)))
    create_markdown_artifact("\n".join(markdown(rows)) + said, key=key, description=title)
    show_picture(svg, f"{key}-picture", title)
    create_link_artifact(page.resolve().as_uri(), key=f"{key}-report", link_text=title)
    return page


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, its head first; numbers stand to the right, what stands in the first column to the left."""
    head, *others = rows
    lines = [f"| {' | '.join(row)} |" for row in (head, *others)]
    return [lines[0], f"|---{'|---:' * (len(head) - 1)}|", *lines[1:]]

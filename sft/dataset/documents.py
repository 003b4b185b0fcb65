"""The document that an image belongs to, by its path: its pages stay together, and so do the parts cut from a page.

What the usual tools write: ``doc7_page_3.png``, ``doc7-p3.jpg``, ``doc7-03.png`` (pdftoppm), ``doc7.pdf_3.png``
(one picture a page of a PDF), ``contract7/3.png`` and ``contract7/page_3.png`` (a folder a document),
``crop_img/inv6_crop_12.jpg`` (PPOCRLabel), ``doc7_page_3_line_004.png`` (line cutters). Every other name is a document
of its own: ``scan_0001.png`` and ``scan_0002.png`` may be anything.
"""

from __future__ import annotations

import re

LONGEST = 1024  # characters of a path: a longer one (an image in the row) is a document of its own
_SUFFIX = re.compile(r"\.\w{1,5}$")
# A part that a tool cut from a page: PPOCRLabel's _crop_12, and _line_3, _l003, _word_7, _box2, … of others.
_PART = re.compile(r"^(.*[^\W_].*?)[-_. ]+(?:crop|line|ln|l|word|w|box|bbox|cell|region|reg|r|block|patch|tile|fig|figure|tbl|table|formula|eq)[-_. ]*\d{1,5}$", re.I)  # fmt: skip
_CROPS = frozenset(
    {"crop_img", "crops", "crop", "cropped", "lines", "words"}
)  # folders of such parts, beside the pages
_PAGE_WORD = r"(?:p|pg|page|seite|pagina|página|стр|页)"
_PAGE = re.compile(rf"^(.*?[^\d_./-].*?)(?:[-_. ]+{_PAGE_WORD}[-_. ]*|-)\d{{1,4}}$", re.I)
_PDF = re.compile(r"^(.+?)\.(?:pdf|tiff?|djvu)(?:[-_.#/ ].*)?$", re.I)
_NUMBERED = re.compile(rf"^(?:{_PAGE_WORD}[-_. ]*)?\d{{1,4}}$", re.I)
_WORDED = re.compile(rf"^{_PAGE_WORD}[-_. ]*\d{{1,4}}$", re.I)
# A folder that is a document: contract7, inv-2021-03; and the numbered ones that only divide a store.
_FOLDER = re.compile(r".*[^\W\d_].*\d$")
_STORE = re.compile(
    r"^(?:train|test|val|valid|validation|dev|eval|data|dataset|images?|imgs?|pictures?|pics?|scans?|pages?|files?|"
    r"batch|part|shard|chunk|fold|set|split|dir|folder|sub|group|level|class|version|v|vol|volume|box)[-_. ]*[\d-]*$",
    re.I,
)


def document_of(name: str, pattern: re.Pattern[str] | None = None) -> str:
    """The document of an image.

    Args:
        name: its path in a row, or its address.
        pattern: takes the place of the rules of this module: its first group is the document, where it matches.
    Returns: a text that is the same for all pages and parts of a document, and for no other image of the set.
    """
    if len(name) > LONGEST:
        return name
    if pattern is not None:
        match = pattern.match(name)
        return (match.group(1) if match and match.groups() else name).removeprefix("./")
    if "://" in name:
        name = name.partition("://")[2].partition("?")[0]
    folder, _, last = name.replace("\\", "/").removeprefix("./").rpartition("/")
    stem = _SUFFIX.sub("", last)
    if parted := _PART.match(stem):
        stem, folder = parted.group(1), _without_crops(folder)
    if of_pdf := _PDF.match(f"{folder}/{stem}" if folder else stem):
        return of_pdf.group(1)
    if _is_page(stem, folder):
        return folder
    paged = _PAGE.match(stem)
    stem = paged.group(1) if paged else stem
    return f"{folder}/{stem}" if folder else stem


def _without_crops(folder: str) -> str:
    """The folder of the page that a part in ``folder`` was cut from."""
    before, _, last = folder.rpartition("/")
    return before if last.lower() in _CROPS else folder


def _is_page(stem: str, folder: str) -> bool:
    """Is the file a page of the document that its folder is?"""
    last = folder.rpartition("/")[2]
    if not _NUMBERED.match(stem) or not last or _STORE.match(last):
        return False
    return bool(_WORDED.match(stem) or _FOLDER.match(last))

"""The document that an image belongs to, by its path: its pages stay together, and so do the parts cut from a page.

What the usual tools write: ``doc7_page_3.png``, ``doc7-p3.jpg``, ``doc7-03.png`` (pdftoppm), ``doc7.pdf_3.png``
(one picture a page of a PDF), ``contract7/3.png`` and ``contract7/page_3.png`` (a folder a document),
``crop_img/inv6_crop_12.jpg`` (PPOCRLabel), ``doc7_page_3_line_004.png`` (line cutters). Every other name is a document
of its own: ``scan_0001.png`` and ``scan_0002.png`` may be anything.

No regular expression looks at a whole name: a validation asks this for each of millions of rows.
"""

from __future__ import annotations

import re

LONGEST = 1024  # characters of a path: a longer one (an image in the row) is a document of its own
LONGEST_SUFFIX = 6  # characters of .jpeg and the like
DIGITS = "0123456789"
MARKS = "-_. "  # what separates the parts of a name
PAGES = frozenset({"p", "pg", "page", "seite", "pagina", "página", "стр", "页"})
# Parts that a tool cut from a page: PPOCRLabel's _crop_12, and _line_3, _l003, _word_7, _box2, … of others.
PARTS = frozenset(
    "crop line ln l word w box bbox cell region reg r block patch tile fig figure tbl table eq".split()  # noqa: SIM905
)
CROPS = frozenset({"crop_img", "crops", "crop", "cropped", "lines", "words"})  # folders of such parts, beside the pages
# img-0012, scan-0012: a camera's or scanner's counter, no document.
COUNTED = frozenset(
    "img image scan scanned photo pic picture dsc dscn file line word sample crop frame snap item".split()  # noqa: SIM905
)
_PDF = re.compile(r"^(.+?)\.(?:pdf|tiff?|djvu)(?:[-_.#/ ].*)?$", re.IGNORECASE)
# Numbered folders that only divide a store, and those of the whole set.
_SETS = "train test val valid validation dev eval data dataset set fold split group class level version v"
_FOLDERS = "image images img imgs picture pictures pic pics scan scans page pages file files dir folder sub box"
_DIVIDERS = "batch part shard chunk vol volume"
STORES = frozenset(f"{_SETS} {_FOLDERS} {_DIVIDERS}".split())
# The folder of an import of ours (sft.dataset.placing), whose last six signs tell sources of one name apart.
IMPORTED = re.compile(r"^images/([^/]+)-[0-9a-f]{6}/")


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
    if "\\" in name:
        name = name.replace("\\", "/")
    name = name.removeprefix("./")
    if name.startswith("images/"):
        name = IMPORTED.sub(r"images/\1/", name)
    folder, slash, last = name.rpartition("/")
    dot = last.rfind(".")
    stem = last[:dot] if dot > 0 and len(last) - dot <= LONGEST_SUFFIX else last
    before, word = _tail(stem)
    if word in PARTS and before.strip(MARKS):
        stem = before.rstrip(MARKS)
        last_folder = folder.rpartition("/")[2]
        if last_folder.lower() in CROPS:
            folder, slash, _ = folder.removesuffix(last_folder).rpartition("/")
        before, word = _tail(stem)
    path = f"{folder}{slash}{stem}"
    if (".pdf" in path or ".tif" in path or ".PDF" in path or ".djvu" in path) and (of_pdf := _PDF.match(path)):
        return of_pdf.group(1)
    if word is None:
        return path
    if not before.strip(MARKS):  # a page's number is all of the name
        return folder if _is_document(folder, word in PAGES) and (word in PAGES or not word) else path
    title = before.rstrip(MARKS) if word in PAGES else before.removesuffix("-")
    if (word not in PAGES and (word or title == before)) or not title.strip(DIGITS + "_./-"):
        return path
    return path if title.lower().rstrip("s") in COUNTED or _is_store(title) else f"{folder}{slash}{title}"


def _tail(stem: str) -> tuple[str, str | None]:
    """(what comes before, the word in front) of the number at the end; without one the word is None.

    ``doc_page_3`` → ``doc_``, ``page``; ``doc-3`` → ``doc-``, an empty word; before a word stands a mark, or nothing.
    """
    head = stem.rstrip(DIGITS)
    if not 0 < len(stem) - len(head) <= 5:
        return stem, None
    words = head.rstrip(MARKS)
    start = len(words)
    while start and words[start - 1].isalpha():
        start -= 1
    word = words[start:].lower()
    if (word in PAGES or word in PARTS) and (not start or words[start - 1] in MARKS):
        return words[:start], word
    return head, ""


def _is_document(folder: str, worded: bool) -> bool:
    """Is the folder a document, of which the file is a page: contract7/3.png, smith/page_3.png, but not train/3.png?"""
    last = folder.rpartition("/")[2]
    if not last or _is_store(last):
        return False
    return worded or (last[-1:].isdigit() and any(map(str.isalpha, last)))


def _is_store(name: str) -> bool:
    return name.rstrip(DIGITS + MARKS).lower() in STORES

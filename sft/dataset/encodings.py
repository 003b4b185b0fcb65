"""Text files of any origin: what says its encoding is read, what does not is named and never guessed silently."""

from __future__ import annotations

import codecs
import re
import unicodedata

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Tried in this order: the strict ones first, as the single-byte ones take nearly everything.
OTHERS = ("gb18030", "shift_jis", "big5", "euc_kr", "cp1251", "cp1252")
_PROBE = 1 << 16  # bytes
_SHOWN = 24  # characters


class UnknownEncoding(ValueError):
    """The bytes are not UTF-8 and do not say what they are; the text names what they may be, and what to do."""


def decoded(content: bytes, encoding: str = "") -> str:
    """The text of a file.

    Args:
        encoding: as the user named it; empty: UTF-8, or what a byte order mark says.
    Raises:
        UnknownEncoding: the bytes are not in this encoding.
    """
    mark = next((name for start, name in MARKS if content.startswith(start)), "")
    try:
        return content.decode(encoding or mark or _silent_utf16(content) or "utf-8")
    except LookupError:
        raise UnknownEncoding(f"there is no encoding {encoding!r}: use utf-8, gb18030, shift_jis, cp1252, …") from None
    except UnicodeDecodeError as error:
        raise UnknownEncoding(_said(content, encoding or mark, error.start)) from None


def _silent_utf16(content: bytes) -> str:
    """UTF-16 without a mark, by its zeros: every second byte of the Latin part (tabs, line ends, file names)."""
    probe = content[:_PROBE]
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = probe[offset::2]
        if len(probe) >= 8 and half.count(0) * 3 > len(half) and not probe[1 - offset :: 2].count(0):
            return name
    return ""


def _said(content: bytes, tried: str, at: int) -> str:
    if tried:
        return f"it is not {tried}: byte {at} does not fit"
    line = content[content.rfind(b"\n", 0, at) + 1 :].partition(b"\n")[0]
    found = [(name, text) for name in OTHERS if (text := _reading(line, name, content))]
    found.sort(key=lambda reading: _mixed(reading[1]))  # stable: the strict ones stay first
    readings = [f"{name} ({text!r})" for name, text in found]
    seen = f"; it may be {' or '.join(readings[:3])}" if readings else ""
    first = readings[0].partition(" ")[0] if readings else "ENCODING"
    return f"it is not UTF-8{seen}: name the right one, such as --encoding {first}"


def _mixed(text: str) -> bool:
    """Do most words with letters beyond ASCII mix scripts, as Grцsse and Gr鰏se do? Then the encoding is hardly the
    right one. Several signs of Chinese, Japanese or Korean beside Latin letters are usual.
    """
    words = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]
    odd = sum(any(len(run) == 1 or run[0] < "\u2e80" for run in _others(word)) for word in words)
    return odd * 2 > len(words)


def _others(word: str) -> list[str]:
    """The runs of letters that are not Latin, in a word that has Latin ones, too."""
    kinds = ["L" if unicodedata.name(c, "").startswith("LATIN") else "-" for c in word]
    return [word[r.start() : r.end()] for r in re.finditer("-+", "".join(kinds))] if "L" in kinds else []


def _reading(line: bytes, encoding: str, content: bytes) -> str:
    """The line in this encoding; empty where the file's bytes do not fit it, or become signs that no text has."""
    try:
        content.decode(encoding)
        text = line.decode(encoding).strip()
    except UnicodeDecodeError:
        return ""
    odd = sum(unicodedata.category(c) in ("Cc", "Cn", "Co") and not c.isspace() for c in text)
    return "" if odd else text[-_SHOWN:]

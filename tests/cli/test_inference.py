"""Pages from anywhere: addresses that answer oddly, results that are there already, folders that take none."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from runs.checking import check_folder
from runs.readable import check_reading
from runs.reading import found_in
from sft.errors import InputError, SftError, TransientError
from sft.models.pages import Page, write
from tests.support.web_server import serving

LOGIN = b"\n<!DOCTYPE html><html><title>Sign in</title></html>"


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def pdf() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100)).save(buffer, "PDF", resolution=100)
    return buffer.getvalue()


def test_what_one_address_does_not_give_stops_no_other(tmp_path: Path) -> None:
    with serving() as site:
        site.files = {"/a%20b.png?sig=planted": png(0), "/get.php?id=7": pdf(), "/scan": png(9), "/login.png": LOGIN}
        site.redirects = {"/moved.png": "/scan"}
        good = [f"{site.url}{path}" for path in (*list(site.files)[:3], "/moved.png", "/scan")]
        site.redirects["/round.png"] = "/round.png"
        broken = [
            f"{site.url}/round.png",
            f"{site.url}/login.png",
            f"{site.url}/none.png?sig=planted",
            "http://127.0.0.1:9/away.png",
        ]
        found = found_in([*broken, *good], tmp_path)
    assert [page.name for page in found] == ["a b", "get.php-p0001", "scan", "moved"], "each once"
    told = [str(error) for error in found.broken]
    assert [text.partition(": ")[0] for text in told] == [*broken[:2], f"{site.url}/none.png?…", broken[3]]
    assert all(error.remedy for error in found.broken)
    assert "redirects" in told[0]
    assert "it is a web page" in told[1]
    assert "404" in told[2]
    assert isinstance(found.broken[3], TransientError)
    assert "planted" not in str(told) + str(list(found))


@pytest.mark.parametrize(("status", "said"), [(401, "login"), (403, "login"), (410, "other means")])
def test_an_address_that_refuses_says_what_else_can_be_done(tmp_path: Path, status: int, said: str) -> None:
    with serving() as site:
        site.refuse = [status]
        with pytest.raises(SftError, match=said):
            found_in([f"{site.url}/a.png"], tmp_path)


@pytest.mark.parametrize("address", ["http://[bad/a.png", "http:///a.png", "s3://bucket/a.png", "://a.png"])
def test_what_is_no_address_is_wrong_input_at_once(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError) as caught:
        check_reading([address], "base", tmp_path)
    assert address in str(caught.value)
    assert caught.value.remedy


def test_results_of_another_file_and_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "scans"
    pages = [Page("inv", tmp_path / "x.png", f"/{month}/inv.png") for month in ("jan", "feb")]
    pages.append(Page("truth", tmp_path / "x.png", "/scans/truth.png"))
    out.mkdir()
    (out / "truth.md").write_text("corrected by hand")
    (out / "truth.json").write_text('["of a labelling tool"]')
    first = [write(out, page, "once", {})[0].name for page in pages]
    again = [write(out, page, "again", {})[0].name for page in reversed(pages)]
    assert first == again[::-1] == ["inv.md", "inv-2.md", "truth-2.md"]
    assert json.loads((out / "inv-2.json").read_text())["source"] == "/feb/inv.png"
    assert (out / "inv.md").read_text() == "again\n"
    assert (out / "truth.md").read_text() == "corrected by hand"


@pytest.mark.parametrize("place", ["file", "file/below", "gone", "/proc/nothing"])
def test_a_folder_that_takes_nothing_is_said_before_the_work(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere" / "at all")
    check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError) as caught:
        check_folder(tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)
    assert caught.value.remedy

"""The rows of a report, looked through in a real browser: a thousand of them, opened as a file."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rapidfuzz.distance import Levenshtein

from sft.jobs.evaluate import compare
from sft.metrics import Normalisation
from sft.models.heard import judge
from sft.models.held_out import HeldOutRow
from sft.report import write_report
from sft.report.instrument import picture, steps
from sft.store.contents import Model
from tests.sft.report.test_report import TRAINING
from tests.support.browser import CHROMIUM, MISSING, looking

ROWS = 1000
OPENS = 2.0  # seconds


@given(st.text("ab𝔸 <", max_size=12), st.text("ab𝔸 <", max_size=12))
def test_the_steps_lead_from_truth_to_answer_by_a_shortest_way(truth: str, said: str) -> None:
    found, place, at, edits = "", 0, 0, 0
    for equal, missing, more in steps(truth, said):
        assert truth[place : place + equal] == said[at : at + equal]
        found += truth[place : place + equal] + said[at + equal : at + equal + more]
        place, at, edits = place + equal + missing, at + equal + more, edits + max(missing, more)
    assert (found, place, at) == (said, len(truth), len(said))
    assert edits <= Levenshtein.distance(truth, said)


def test_a_photograph_becomes_a_jpeg_and_a_line_of_text_stays_exact(tmp_path: Path) -> None:
    Image.new("L", (200, 28), 255).save(tmp_path / "line.png")
    Image.effect_noise((2000, 1400), 90).save(tmp_path / "photo.png")
    assert picture(tmp_path / "line.png").startswith("data:image/png;base64,")
    photo = picture(tmp_path / "photo.png")
    assert photo.startswith("data:image/jpeg;base64,")
    assert len(photo) < 150_000


def _report(folder: Path) -> Path:
    """A page of 1,000 rows: of each ten, one is better and two are worse than base, and one label is wrong."""
    rng = random.Random(1)
    rows, base, tuned = [], [], []
    for number in range(ROWS):
        path = folder / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.effect_noise((300, 60), 60).save(path)
        truth = f"line {number} " + "".join(rng.choices("abcdefgh ", k=rng.choice([4, 60, 300]))).strip()
        kind, wrong = number % 10, truth[:2] + "𝔸" + truth[3:]
        rows.append(HeldOutRow(number, (path,), "OCR:", truth, "ocr" if number % 4 else "formula"))
        base.append({0: "base's own", 1: truth, 2: truth, 3: wrong}.get(kind, truth))
        tuned.append({0: truth, 1: wrong, 2: "", 3: wrong}.get(kind, truth))
    texts: dict[Model, list[str]] = {"base": base, "tuned": tuned}
    heard = judge(rows, texts, Normalisation())
    result = compare(heard)
    result["name"] = "a thousand"
    assert write_report(folder / "report.html", result, TRAINING, folder / "none", heard, examples=100) >= 1
    return folder / "report.html"


@pytest.mark.skipif(not CHROMIUM, reason=MISSING)
def test_a_thousand_rows_open_at_once_and_are_filtered_sorted_and_downloaded(tmp_path: Path) -> None:
    page = _report(tmp_path)
    with looking("", tmp_path) as looker:
        browser = looker.page
        broken: list[Any] = []
        browser.on("pageerror", lambda error: broken.append(error))
        looker.open(page.as_uri(), f"{ROWS} of {ROWS} rows")
        assert browser.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 1000 * OPENS
        lines = browser.locator(".examples tbody tr")
        assert lines.count() == 50, "no more is drawn than is looked at"
        assert browser.locator(".examples img").first.get_attribute("src").startswith("data:image/")  # type: ignore[union-attr]

        def shows(what: str, count: int) -> None:
            browser.get_by_label("show").select_option(what)
            looker.sees(f"{count} of {ROWS} rows")

        shows("better base", 100)
        shows("worse base", 200)
        browser.get_by_label("sorted").select_option("file")
        first = lines.first
        assert first.locator("del").inner_text(), "what is missing is marked"
        assert first.locator("ins").inner_text() == "𝔸", "one sign beyond 16 bits is one step"
        shows("doubtful", 100)
        assert first.inner_text().count("𝔸") == 2, "both say it"
        shows("empty", 100)
        browser.get_by_label("task").select_option("formula")
        looker.sees(f"50 of {ROWS} rows")
        browser.get_by_label("text").fill("line 992")
        looker.sees(f"1 of {ROWS} rows")
        with browser.expect_download() as downloaded:
            browser.get_by_text("download these rows").click()
        (row,) = map(json.loads, downloaded.value.path().read_text().splitlines())
        assert (row["row"], row["tuned"], row["images"]) == (992, "", ["992.png"])
        assert row["truth"] == row["base"]

        browser.get_by_label("text").fill("")
        browser.get_by_label("task").select_option("")
        shows("right", 700)
        far = browser.locator("img[alt='row 999: 999.png']")
        while far.count() == 0:
            browser.mouse.wheel(0, 20_000)
            browser.wait_for_timeout(20)
        far.scroll_into_view_if_needed()
        browser.wait_for_function(
            "name => document.querySelector(`img[alt='${name}']`).naturalWidth > 0", arg="row 999: 999.png"
        )

        (tmp_path / "pictures" / "1.js").unlink()
        looker.open(page.as_uri(), f"{ROWS} of {ROWS} rows")
        shows("right", 700)
        browser.locator("img[alt*='which is not beside this page']").first.wait_for(state="attached")
        assert broken == []

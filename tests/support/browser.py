"""A real Chromium that looks at pages: texts are waited for, screenshots kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import FloatRect, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
MISSING = "no Chromium on this machine: make browser installs it (Debian, as root)"
PATIENCE = 60_000  # ms
WIDTH = 1400  # px


class Looker:
    """Opens pages of the site at ``root``; screenshots go to ``folder``."""

    def __init__(self, page: Page, root: str, folder: Path) -> None:
        self.page, self.root, self.folder = page, root, folder

    def open(self, path: str, *texts: str) -> None:
        """Go to a page and wait until it shows each of the texts.

        Raises:
            playwright.sync_api.TimeoutError: it does not show one of them.
        """
        self.page.goto(self.root + path)
        self.sees(*texts)

    def sees(self, *texts: str) -> None:
        """Wait until the page shows each of the texts."""
        for text in texts:
            self.page.get_by_text(text).first.wait_for(timeout=PATIENCE)

    def keep(self, name: str, height: int = 900) -> None:
        """Keep the upper ``height`` pixels of what is seen now as NAME.png."""
        self.page.wait_for_timeout(1500)  # graphs move into their places
        clip = FloatRect(x=0, y=0, width=WIDTH, height=height)
        self.page.screenshot(path=self.folder / f"{name}.png", clip=clip)


@contextmanager
def looking(root: str, folder: Path) -> Iterator[Looker]:
    """A browser on the site at ``root``. With SFT_SCREENSHOTS set, screenshots go there (the README shows them)."""
    folder = Path(os.environ.get("SFT_SCREENSHOTS", folder))
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
            page.set_default_timeout(PATIENCE)
            yield Looker(page, root, folder)
        finally:
            browser.close()

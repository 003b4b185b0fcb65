"""A real Chromium that looks at pages: texts are waited for, screenshots kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import FloatRect, Locator, Page, TimeoutError, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
MISSING = "no Chromium on this machine: make browser installs it (Debian, as root)"
PATIENCE = 60_000  # ms
MENU = 10_000  # ms until an open menu shows its entries
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


class Form:
    """A deployment's form "Custom run", opened as a person does: by the button Run of the deployment's page.

    Prefect 3.9 has two interfaces: ``/v2``, where its start page leads, and the older one at ``/``.
    """

    def __init__(self, page: Page, root: str) -> None:
        self.page, self.root = page, root

    def open(self, ui: str, deployment: str) -> None:
        """Open the form of the deployment with that id, and wait until its last field is there."""
        self.page.goto(f"{self.root}{ui}/deployments/deployment/{deployment}")
        self.again("Custom run")

    def again(self, choice: str) -> None:
        """Open the menu of the button Run, and choose ``Custom run`` of it or nothing yet."""
        entry = self.page.get_by_text(choice or "Quick run", exact=True).first
        for _ in range(PATIENCE // MENU):  # a page that is just drawn anew closes its menu: one clicks again
            self.page.get_by_role("button", name="Run", exact=True).first.click()
            with suppress(TimeoutError):
                entry.wait_for(timeout=MENU)
                break
        if choice:
            entry.click()
            self.field("Folder").wait_for()

    def copy(self, ui: str, run: str) -> None:
        """Open the form by "Copy to new run" of the run with that id."""
        self.page.goto(f"{self.root}{ui}/runs/flow-run/{run}")
        menu = self.page.locator(".p-icon-button-menu button")
        menu.or_(self.page.get_by_role("button", name="Open menu")).first.click()
        self.page.get_by_text("Copy to new run").first.click()
        self.field("Folder").wait_for()

    def field(self, title: str) -> Locator:
        """The input of the first field of that title."""
        return self._behind(title, "*[self::input or self::textarea]")

    def kind(self, title: str, name: str) -> None:
        """Choose what a field holds that may hold one or the other: ``int`` or ``str``, a section or ``None``."""
        self._behind(title, f"*[normalize-space()='{name}']").click()

    def _behind(self, title: str, what: str) -> Locator:
        label = self.page.locator("label", has_text=f"{title} (Optional)").first
        return label.locator(f"xpath=following::{what}").first

    def created_by(self, button: str) -> dict[str, Any]:
        """Click a button and return the flow run that the server has made then."""
        for _ in range(3):  # Prefect answers 503 while its SQLite is locked, on a busy machine; one clicks again
            with self.page.expect_response(lambda answer: answer.url.endswith("/create_flow_run")) as info:
                self.page.get_by_text(button, exact=True).first.click()
            if info.value.status != 503:
                break
        assert info.value.ok, info.value.text()
        run: dict[str, Any] = info.value.json()
        return run


PROJECT = Path(__file__).parents[2]


@contextmanager
def looking(root: str, folder: Path) -> Iterator[Looker]:
    """A browser on the site at ``root``. With SFT_SCREENSHOTS set, screenshots go there (the README shows them): a
    relative path is one in the project, wherever the test works.
    """
    folder = PROJECT / os.environ.get("SFT_SCREENSHOTS", folder)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
            page.set_default_timeout(PATIENCE)
            yield Looker(page, root, folder)
        finally:
            browser.close()


class Approval:
    """The form of a run that waits for a decision, opened as a person does: by the button Resume of the run's page."""

    def __init__(self, page: Page, root: str) -> None:
        self.page, self.root = page, root

    def open(self, run: str) -> Locator:
        """The form of the run with that id."""
        self.page.goto(f"{self.root}/runs/flow-run/{run}")
        self.page.get_by_role("button", name="Resume").first.click()
        form = self.page.locator("#p-modal-teleport-target")
        form.locator("textarea").nth(1).wait_for()
        return form

    def answer(self, form: Locator, decision: str, reason: str, who: str) -> None:
        """Choose, say why and who, and submit."""
        form.locator(".p-select-button__control").first.focus()
        self.page.keyboard.press("ArrowDown")
        self.page.locator(".p-select-option", has_text=decision).click()
        for number, text in enumerate((reason, who)):
            form.locator("textarea").nth(number).fill(text)
        form.get_by_role("button", name="Submit").click()

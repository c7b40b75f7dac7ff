"""A headless browser for tests of the page: the machine's own Chromium or Chrome, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

BROWSER_VARIABLE = "AMOP_BROWSER"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class BrowserNotFoundError(RuntimeError):
    """No browser is installed; the message says how to get one."""


def find_browser() -> str:
    """Return the path of the browser: of the variable ``AMOP_BROWSER``, else an installed Chromium or Chrome.

    Raises:
        BrowserNotFoundError: there is none.
    """
    named = os.environ.get(BROWSER_VARIABLE)
    found = named or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise BrowserNotFoundError(
            "the tests of the page need Chromium or Chrome: run `make browser`, install one yourself (Debian: "
            f"apt-get install chromium), or set {BROWSER_VARIABLE} to its path"
        )
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a running browser without a window.

    Raises:
        BrowserNotFoundError: none is installed.
    """
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=find_browser(), args=arguments)
        try:
            yield running
        finally:
            running.close()

"""A headless Chromium without a network, for the tests of what people look at.

Debian and Ubuntu have it as the packages chromium and chromium-driver; `make test`
installs them where it may.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name resolves: the network is off
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",  # a click waits for no scrolling
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find() -> tuple[str, str]:
    """The programs of the browser and of its driver.

    Raises:
        FileNotFoundError: one is missing; how to get them.
    """
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        raise FileNotFoundError(
            "the tests of the report need Chromium and its driver on the PATH: "
            "apt-get install chromium chromium-driver"
        )
    return browser, driver


@contextlib.contextmanager
def open_browser(*flags: str) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own, which ends with the block."""
    browser, driver = find()
    profile = tempfile.mkdtemp(prefix="chromium.")
    options = Options()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()
        shutil.rmtree(profile, ignore_errors=True)


def show(browser: webdriver.Chrome, page: Path) -> None:
    """Open a page, draw all of its charts, and wait until they are there."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page.as_uri())
    wait = WebDriverWait(browser, 120)
    wait.until(
        lambda b: b.execute_script("return document.documentElement.dataset.ready")
    )
    for chart in browser.find_elements("css selector", ".chart"):
        browser.execute_script("arguments[0].scrollIntoView()", chart)
        wait.until(lambda _, chart=chart: chart.get_attribute("data-drawn"))

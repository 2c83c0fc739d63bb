"""Screenshots of reports for the documentation: `python docs/report_images.py`.

Needs Chromium and its driver, as the tests do. The sweeps are those of the tests: made
without training, so that a sweep of a thousand trials takes a second.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from sweeper.reporting import html_report  # noqa: E402
from tests import browser, sweeps  # noqa: E402  # the tests are no package of sweeper

IMAGES = Path(__file__).parent / "images"
COLOURS = 160  # of a palette: small files, no visible loss
NOTES = "Does the big model need a smaller learning rate?"
BASELINE = {"model": "resnet18", "data.batch_size": 64}


def main() -> None:
    """Draw every picture."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, browser.open_browser() as page:
        pages = _write(Path(name))
        shoot(page, pages["small"], "report", width=1200, height=1000)
        shoot(page, pages["small"], "timeline", at="timeline", width=1200, height=560)
        shoot(page, pages["large"], "thousand", at="curves", width=1200, height=1000)
        shoot(page, pages["several"], "pareto", at="pareto", width=1200, height=640)
        shoot(page, pages["failed"], "failed", width=1200, height=900)
        shoot(page, pages["small"], "phone", width=420, height=900, is_dark=True)


def _write(folder: Path) -> dict[str, Path]:
    for name in ("small", "large", "failed", "several"):
        (folder / name).mkdir()
    trials = sweeps.make_trials(24, models=("resnet18", "resnet50", "small_cnn"))
    small = sweeps.make_sweep(folder / "small", trials, notes=NOTES, baseline=BASELINE)
    sweeps.write_files(small, trials)
    large = sweeps.make_sweep(folder / "large", sweeps.make_trials(1000, epochs=30))
    made = {
        "small": small,
        "large": large,
        "failed": sweeps.all_failed(folder / "failed"),
        "several": sweeps.two_objectives(folder / "several"),
    }
    for sweep in made.values():
        html_report.write(sweep)
    return {name: sweep.paths.report for name, sweep in made.items()}


def shoot(
    page: webdriver.Chrome,
    report: Path,
    name: str,
    *,
    width: int,
    height: int,
    at: str = "",
    is_dark: bool = False,
) -> None:
    """Write `name`.png: a report from its top, or from the section `at`."""
    page.set_window_size(width, height)
    browser.show(page, report)
    if is_dark:
        page.find_element("id", "theme").click()
    top = "window.scrollTo(0, 0)"
    section = f"document.getElementById('{at}').scrollIntoView()"
    page.execute_script(section if at else top)
    page.execute_async_script("setTimeout(arguments[0], 800)")
    image = Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB")
    image.quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()

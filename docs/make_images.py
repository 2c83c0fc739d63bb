"""The pictures of the README, made from a real sweep.

`python docs/make_images.py sweeps/lr_sweep` writes leaderboard.svg and lr_sweep.png to
docs/images; the second, of the sweep's report, needs Chromium and its driver.
"""

import io
import sys
from pathlib import Path

from report_images import browser, shoot
from rich.console import Console

from sweeper import load_sweep
from sweeper.reporting.status import status_view

IMAGES = Path(__file__).parent / "images"
# rich's own format fetches its font from the net; a page about offline work does not.
FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" \
xmlns="http://www.w3.org/2000/svg"><style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; \
line-height: {line_height}px; }}
{styles}</style><defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" \
width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>{chrome}
<g transform="translate({terminal_x}, {terminal_y})" \
clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}<g class="{unique_id}-matrix">
{matrix}</g></g></svg>
"""


def main(folder: Path) -> None:
    """Draw what `sweeper status` prints of the sweep in `folder`, and its report."""
    console = Console(record=True, width=90, file=io.StringIO())
    console.print(status_view(load_sweep(folder).sweep))
    IMAGES.mkdir(exist_ok=True)
    console.save_svg(
        str(IMAGES / "leaderboard.svg"),
        title=f"sweeper status {folder.name}",
        code_format=FORMAT,
    )
    report = (folder / "report.html").absolute()
    with browser.open_browser() as page:
        shoot(page, report, folder.name, at="curves", width=1200, height=1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

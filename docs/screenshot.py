"""Takes the picture of a report that the README shows: `python docs/screenshot.py REPORT.html PICTURE.png`."""

import shutil
import sys
from pathlib import Path

WIDTH, HEIGHT = 1180, 1915  # CSS pixels: the verdicts, the rates and the curve


def take(report: Path, picture: Path) -> None:
    """Open the report without a network and write the top of the page as a PNG."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        sys.exit(f"no browser found; needed: one of {', '.join(names)} on the PATH. Install Chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True, color_scheme="light").new_page()
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        page.goto(report.resolve().as_uri())
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python docs/screenshot.py REPORT.html PICTURE.png")
    take(Path(sys.argv[1]), Path(sys.argv[2]))

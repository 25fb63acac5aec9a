"""Pictures of the documentation: `python docs/pictures.py` trains and photographs the report.

It needs Chromium (Debian: `apt-get install chromium`), and epochal installed.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1200, 900  # pixels of the top of a page
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str:
    """Return the path of Chromium.

    Raises:
        SystemExit: there is none.
    """
    for name in BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return path
    raise SystemExit("no Chromium found; install it (Debian: apt-get install chromium)")


def photograph(page: Path, picture: Path, browser: str) -> None:
    """Write the top of an HTML page as a PNG file."""
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        check=True,
        capture_output=True,
    )


def main() -> None:
    """Train, and photograph the report."""
    browser = find_browser()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "epochal", "train", "--name", "digits"]
        subprocess.run(command, cwd=folder, check=True)
        report = Path(folder) / "runs/digits/report.html"
        photograph(report, IMAGES / "report.png", browser)


if __name__ == "__main__":
    main()

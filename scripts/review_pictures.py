#!/usr/bin/env python3
"""Pictures of the page of `detect review` for the docs: desktop, phone, dark. Needs Chromium and its driver.

    python scripts/review_pictures.py [--work FOLDER] [--out docs]

The plant is simulated: a week of four machines, of which a gearbox develops a fault, and a pump has two faulty
recordings. File names hold the times of the recordings, and no label is known to the store.
"""

import argparse
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import browser, resize  # noqa: E402
from dated_plant import dated_plant  # noqa: E402
from running_page import running_page  # noqa: E402

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


def main() -> None:
    """Make the plant, its store and its results; open the page and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="Folder to keep the plant in; default a temporary one.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        folders = dated_plant(work)
        with running_page(folders.store, folders.results, folders.data) as address:
            pictures(address, arguments.out, Path(temporary))


def pictures(address: str, out: Path, work: Path) -> None:
    """Every picture of the docs."""
    with browser(work) as driver:
        driver.get(address)
        for name, part, (width, height), dark in SHOTS:
            resize(driver, width, height, dark=dark)
            show(driver, part)
            write_small(driver.get_screenshot_as_png(), out / f"review-{name}.png")
            print(f"wrote {out / f'review-{name}.png'}")


def write_small(png: bytes, path: Path) -> None:
    """Write a picture with at most 256 colours, a third of the size."""
    from PIL import Image

    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


SHOTS = (
    ("overview", "overview", (1280, 800), False),
    ("triage", "triage", (1280, 900), False),
    ("threshold", "threshold", (1280, 800), False),
    ("map-dark", "map", (1280, 800), True),
    ("phone", "triage", (375, 760), False),
)
"""Name of a picture, the part that it shows, its size in pixels, and whether its colours are dark."""


def show(driver: "Chrome", part: str) -> None:
    """Show a part and wait until it has drawn."""
    driver.execute_script(f"location.hash = '#{part}'")
    time.sleep(4)


if __name__ == "__main__":
    main()

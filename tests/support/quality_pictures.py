"""Pictures of a translation's sheet and viewer for the documentation.

    .venv/bin/python tests/support/quality_pictures.py OUT docs

writes quality_sheet.jpg and quality_viewer.jpg.
"""

import sys
import tempfile
import time
from pathlib import Path

import PIL.Image
from browser import open_browser

_DRAWN = "document.querySelector('button[aria-pressed=true]') !== null"
_SHOW_OVERLAY = 'byId("overlay").value = 0.6; byId("overlay").oninput()'


def main(output: Path, docs: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        with open_browser(Path(folder) / "profile") as browser:
            for page, width, height in (("quality", 1120, 1180), ("viewer", 1400, 960)):
                browser.open(output / f"{page}.html", width=width, height=height)
                if page == "viewer":
                    browser.wait(_DRAWN)
                    browser.run(_SHOW_OVERLAY)
                time.sleep(2)  # until it is drawn
                browser.picture(picture)
                name = {"quality": "quality_sheet", "viewer": "quality_viewer"}[page]
                image = PIL.Image.open(picture).convert("RGB")
                image.save(docs / f"{name}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

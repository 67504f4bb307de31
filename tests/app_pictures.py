"""Takes the README's pictures of the web app, in Chromium, with a sample page read.

python tests/app_pictures.py
"""

import os
import shutil
import tempfile

from app_serving import ROOT, serving
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from lab_utils.predictors import LocalPredictor

SIZES = {"app_wide": (1440, 1040), "app_narrow": (390, 844)}
ARGUMENTS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync".split()


def take(browser: Browser, url: str, name: str) -> None:
    width, height = SIZES[name]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto(url)
    page.get_by_role("button", name="Pencil").click()
    page.wait_for_selector("#found figure", timeout=60_000)
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(1000)  # the button's colour fades, and the page scrolls
    path = ROOT / "data" / "pictures" / f"{name}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
    with Image.open(path) as taken:  # 256 colours are enough for paper and ink, at half the bytes
        few = taken.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
    page.close()


def main() -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(LocalPredictor(), folder) as (frontend, _),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for name in SIZES:
            take(browser, frontend.local_url, name)
        browser.close()


if __name__ == "__main__":
    main()

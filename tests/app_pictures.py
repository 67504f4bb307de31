"""Takes the README's pictures of the web app, in Chromium, with a sample page read.

python tests/app_pictures.py
"""

import tempfile

from app_serving import ROOT, chromium, serving
from PIL import Image

from lab_utils.predictors import LocalPredictor

SIZES = {"app_wide": (1440, 1040), "app_narrow": (390, 844)}


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(LocalPredictor(), folder) as (frontend, _),
        chromium() as browser,
    ):
        for name, (width, height) in SIZES.items():
            size = {"width": width, "height": height}
            page = browser.new_page(viewport=size, color_scheme="light")
            page.goto(frontend.local_url)
            page.get_by_role("button", name="Pencil").click()
            page.wait_for_selector("#found figure", timeout=60_000)
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            page.wait_for_timeout(1000)  # the button's colour fades, and the page scrolls
            path = ROOT / "data" / "pictures" / f"{name}.png"
            page.screenshot(path=path, full_page=True, animations="disabled")
            with Image.open(path) as taken:  # 256 colours are enough, at half the bytes
                few = taken.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            few.save(path, optimize=True)
            page.close()


if __name__ == "__main__":
    main()

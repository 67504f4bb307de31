"""What a worker process with limits costs an honest page, compared with decoding it here.

    python benchmarks/decoding.py

Both decode the same files by turns: the sample pages, and one of them as a phone's photo of 12 MP.
A stranger's image must cost at most 5 ms more than one of your own.
"""

import argparse
import io
import json
import statistics
import sys
import time

from PIL import Image

from text_recognizer import decoding
from text_recognizer.images import decode_here
from text_recognizer.places import SAMPLE_PAGES

MOST_MS = 5.0
PHOTO = (4000, 3000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    pages = [path.read_bytes() for path in sorted(SAMPLE_PAGES.glob("show_*.jpg"))]
    photo = io.BytesIO()
    Image.open(io.BytesIO(pages[0])).resize(PHOTO).save(photo, "JPEG", quality=88)
    decoding.start()
    added = {}
    for name, files in (("page", pages), ("photo", [photo.getvalue()])):
        here, there = by_turns(files, options.rounds)
        added[f"{name}_added_ms"] = round(1000 * (there - here), 2)
        print(f"{name}: {1000 * here:.1f} ms here, {1000 * there:.1f} ms in a worker")
    target = {"limit": MOST_MS, "met": added["page_added_ms"] <= MOST_MS}
    print(json.dumps({"benchmark": "decoding", **added, "targets": {"page_added_ms": target}}))
    return 0


def by_turns(files: list[bytes], rounds: int) -> tuple[float, float]:
    """The median seconds a file takes, here and in a worker."""
    taken: dict = {decode_here: [], decoding.decode: []}
    for number in range(rounds + 1):
        for data in files:
            for decode, seconds in taken.items():
                start = time.perf_counter()
                decode(data, "page")
                if number:  # the first round warms up
                    seconds.append(time.perf_counter() - start)
    here, there = (statistics.median(seconds) for seconds in taken.values())
    return here, there


if __name__ == "__main__":
    sys.exit(main())

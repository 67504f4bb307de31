"""Pages made a second, with as many worker processes as a training has.

Training waits where pages come slower than it reads them. Each kind of page is made by a PyTorch
DataLoader with two workers, as in training, and so is the mix that training takes. The workers
load their strokes and fonts before the clock starts: each hands over a page first. What the
network's input costs besides (normalizing, cutting strips) is left out.

The target is held against the training mix. Kinds whose data is not on this machine are told and
left out; without the mix, the target counts as not met. Run it on an otherwise idle machine:

    python benchmarks/make_pages.py --pages 200
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence

from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from text_recognizer.errors import RecognizerError
from text_recognizer.pages.generator import KINDS, TRAINING_MIX, PageGenerator, page_generator
from text_recognizer.train.sampling import one_thread

TARGET = 20.0  # pages a second, of the training mix
MIX = "mix"


class MadePages(Dataset[tuple[int, int, int]]):
    """Page number i as its height, width and number of lines: pixels stay in the worker."""

    def __init__(self, mix: dict[str, float], count: int, seed: int) -> None:
        self.mix, self.count, self.seed = mix, count, seed
        self.generator: PageGenerator | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        if self.generator is None:  # in the worker, as in training
            self.generator = page_generator(self.mix)
        page = self.generator.make([self.seed, index])
        height, width = page.image.shape
        return height, width, len(page.lines)


def measure(mix: dict[str, float], pages: int, workers: int, seed: int) -> dict[str, float]:
    """Pages a second, and how large they are on average, for one mix of kinds.

    Raises RecognizerError where the fonts or the handwriting that the mix needs are missing.
    """
    page_generator(mix)  # what is missing is told here, not by a worker; fills the caches on disk
    first = 2 * workers  # the pages with which all workers warm up
    loader = DataLoader(
        MadePages(mix, first + pages, seed),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=1,
        worker_init_fn=one_thread,
    )
    sizes = []
    began = 0.0
    with tqdm(total=pages, desc=" + ".join(mix), unit="page", file=sys.stderr) as bar:
        for index, size in enumerate(loader):
            if index + 1 == first:
                began = time.perf_counter()
            elif index >= first:
                sizes.append(size)
                bar.update()
    seconds = time.perf_counter() - began
    return {
        "pages_per_second": pages / seconds,
        "megapixels": sum(height * width for height, width, _ in sizes) / len(sizes) / 1e6,
        "lines": sum(lines for *_, lines in sizes) / len(sizes),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=200, help="of each kind (200)")
    parser.add_argument("--workers", type=int, default=2, help="processes that make pages (2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS, MIX], default=[*KINDS, MIX])
    options = parser.parse_args(arguments)
    if min(options.pages, options.workers) < 1:
        parser.error("--pages and --workers are whole numbers of 1 or more")
    measured = {}
    for kind in options.kinds:
        mix = TRAINING_MIX if kind == MIX else {kind: 1.0}
        try:
            measured[kind] = measure(mix, options.pages, options.workers, options.seed)
        except RecognizerError as error:
            print(f"{kind} is not measured: {error}", file=sys.stderr)
    print(f"{'kind':6} {'pages/s':>8} {'megapixels':>11} {'lines':>6}")
    for kind, one in measured.items():
        print(
            f"{kind:6} {one['pages_per_second']:8.1f} {one['megapixels']:11.2f} {one['lines']:6.1f}"
        )
    rates = {kind: round(one["pages_per_second"], 2) for kind, one in measured.items()}
    met = rates.get(MIX, 0.0) >= TARGET
    print(
        json.dumps(
            {
                "pages_per_second": rates,
                "workers": options.workers,
                "pages": options.pages,
                "target": TARGET,
                "met": met,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

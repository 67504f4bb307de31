"""How well is each kind of picture read that people bring: turned, in shadow, cropped, far away?

    python benchmarks/kinds.py
    python benchmarks/kinds.py --kinds plain,skew-15,columns --count 4 --rapidocr

CER is the share of characters read wrong; `split` the share of pictures of one line that are read
as several. The pictures come from handwriting that no training sees, or from fonts (--fonts).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from calibration import calibration, score_lines

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate.kinds import KINDS, KindItem, make_items
from text_recognizer.metrics import Edits, character_edits
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import lab_folder
from text_recognizer.vocabulary import to_printable_ascii


def main() -> int:
    options = arguments()
    try:
        model = options.model or compile_paragraph_reader(lab_folder() / "models" / "kinds.pt")
        recognizer = ParagraphTextRecognizer(model)
        items = make_items(options.kinds, options.count, not options.fonts, options.seed)
        summary = read_all(recognizer, items, rapidocr() if options.rapidocr else None)
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"benchmark": "kinds", **summary}))
    return 0


def read_all(
    recognizer: ParagraphTextRecognizer, items: Iterable[KindItem], rapid: Callable | None
) -> dict:
    """Reads all, prints a row as each kind is done, and returns what the JSON line says."""
    rows, scores = {}, []
    for kind, group in groupby(items, lambda item: item.kind):
        readings = []
        for item in group:
            start = time.perf_counter()
            try:
                reading = recognizer.read(item.picture)
                text, lines = reading.text, reading.lines
            except RecognizerError as error:
                text, lines = "", []
                print(f"  {kind}: {error}", file=sys.stderr)
            seconds = time.perf_counter() - start
            scores += score_lines(lines, item.text)
            theirs = character_edits(rapid(item.picture), item.text) if rapid else None
            readings.append((item.text, text, seconds, theirs))
        rows[kind] = row = row_of(readings)
        more = "".join(f"  {name} {value}" for name, value in row.items() if value is not None)
        print(f"{kind:14}{more}", file=sys.stderr, flush=True)
    error = calibration(scores).ece if scores else 0.0
    print(f"expected calibration error over {len(scores)} lines: {error:.3f}", file=sys.stderr)
    return {"kinds": rows, "ece": error, "lines": len(scores)}


def row_of(readings: list[tuple]) -> dict[str, float | None]:
    """The rates of one kind."""
    edits = Edits.total(character_edits(text, label) for label, text, _, _ in readings)
    single = [text for label, text, _, _ in readings if "\n" not in label and label]
    theirs = [edits for *_, edits in readings if edits is not None]
    return {
        "cer": round(edits.rate, 4),
        "split": round(sum("\n" in text for text in single) / len(single), 3) if single else None,
        "seconds": round(sum(seconds for _, _, seconds, _ in readings) / len(readings), 3),
        "pictures": len(readings),
        "rapidocr": round(Edits.total(theirs).rate, 4) if theirs else None,
    }


def rapidocr():
    """rapidocr without its direction classifier, as a function from pictures to texts."""
    from page_readers import CONTESTANTS

    read = CONTESTANTS["rapidocr_upright"](argparse.Namespace(threads=1))
    return lambda picture: to_printable_ascii(read([picture], [0])[0])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", type=lambda names: tuple(names.split(",")), default=KINDS)
    parser.add_argument("--count", type=int, default=8, help="pages of a kind (default: 8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fonts", action="store_true", help="made writing, not real handwriting")
    parser.add_argument("--model", type=Path, help="TorchScript file (default: compiled now)")
    parser.add_argument("--rapidocr", action="store_true", help="read with rapidocr, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

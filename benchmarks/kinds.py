"""How well is each kind of picture read that people bring: turned, in shadow, cropped, far away?

    python benchmarks/kinds.py
    python benchmarks/kinds.py --kinds plain,skew-15,columns --count 4 --rapidocr
    python benchmarks/kinds.py --labels FOLDER          # pictures of your own with a labels.json

CER is the share of characters read wrong; `split` the share of pictures of one line that are read
as several. The pictures come from handwriting that no training sees, or from fonts (--fonts).
"""

import argparse
import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate.calibration import calibration, score_lines
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
        if options.labels:
            items = labelled(options.labels)
        else:
            items = make_items(options.kinds, options.count, not options.fonts, options.seed)
        summary = read_all(recognizer, items, options)
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"benchmark": "kinds", **summary}))
    return 0


def labelled(folder: Path) -> Iterable[KindItem]:
    """The pictures of a folder, each a kind of its own."""
    for item in json.loads((folder / "labels.json").read_text(encoding="utf-8"))["items"]:
        with Image.open(folder / item["file"]) as picture:
            picture.load()
            yield KindItem(item["file"], picture, item["text"])


def read_all(
    recognizer: ParagraphTextRecognizer, items: Iterable[KindItem], options: argparse.Namespace
) -> dict:
    """Reads all, prints a row as each kind is done, and returns what the JSON line says."""
    rapid = rapidocr() if options.rapidocr else None
    rows: dict[str, dict] = {}
    scores = []
    by_kind: dict[str, list] = defaultdict(list)
    last = None
    for item in items:
        if last not in (None, item.kind):
            show(rows, last, by_kind[last])
        last = item.kind
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                reading = recognizer.read(item.picture)
                text, lines = reading.text, reading.lines
            except RecognizerError as error:
                text, lines = "", []
                print(f"  {item.kind}: {error}", file=sys.stderr)
        seconds = time.perf_counter() - start
        scores += score_lines(lines, item.text)
        theirs = character_edits(rapid(item.picture), item.text) if rapid else None
        by_kind[item.kind].append((item.text, text, seconds, theirs))
        if options.show and text != item.text:
            confidence = " ".join(f"{line.confidence:.2f}" for line in lines)
            print(f"  {text!r}\n  {item.text!r} {confidence}", file=sys.stderr)
        if options.save:
            options.save.mkdir(parents=True, exist_ok=True)
            item.picture.convert("L").save(options.save / f"{item.kind}-{len(by_kind[last])}.png")
    if last is not None:
        show(rows, last, by_kind[last])
    error = calibration(scores).ece if scores else 0.0
    print(f"expected calibration error over {len(scores)} lines: {error:.3f}", file=sys.stderr)
    return {"kinds": rows, "ece": error, "lines": len(scores)}


def show(rows: dict[str, dict], kind: str, readings: list) -> None:
    edits = Edits.total(character_edits(text, label) for label, text, _, _ in readings)
    single = [text for label, text, _, _ in readings if "\n" not in label and label]
    row = {
        "cer": round(edits.rate, 4),
        "split": round(sum("\n" in text for text in single) / len(single), 3) if single else None,
        "seconds": round(sum(seconds for _, _, seconds, _ in readings) / len(readings), 3),
        "pictures": len(readings),
    }
    if readings[0][3] is not None:
        row["rapidocr"] = round(Edits.total(theirs for *_, theirs in readings).rate, 4)
    rows[kind] = row
    more = "".join(
        f"  {name} {row[name]}"
        for name in ("split", "seconds", "rapidocr")
        if row.get(name) is not None
    )
    print(f"{kind:28} CER {row['cer']:.3f}{more}", file=sys.stderr, flush=True)


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
    parser.add_argument("--labels", type=Path, help="a folder with a labels.json to read instead")
    parser.add_argument("--model", type=Path, help="TorchScript file (default: compiled now)")
    parser.add_argument("--rapidocr", action="store_true", help="read with rapidocr, too")
    parser.add_argument("--show", action="store_true", help="print what was read wrong")
    parser.add_argument("--save", type=Path, help="a folder for the pictures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

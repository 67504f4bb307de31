"""Makes the English character model and the list of words:

    python -m text_recognizer.language_model.train

Half a minute to a minute on one core; the same texts give the same file.
"""

import argparse
import sys
import time
from pathlib import Path

from text_recognizer.errors import RecognizerError
from text_recognizer.language_model import english_model_path
from text_recognizer.language_model.character_model import save_model
from text_recognizer.language_model.estimation import estimate
from text_recognizer.language_model.texts import (
    HELD_OUT,
    PACKAGES,
    common_words,
    every_text,
    fetch_texts,
    texts_folder,
)
from text_recognizer.language_model.words import save_words, words_path


def main(arguments: list[str] | None = None) -> int:
    """Fetches the texts and makes the files; `benchmarks/language_model.py` measures them."""
    parser = argparse.ArgumentParser(
        prog="python -m text_recognizer.language_model.train",
        description="Make the English character model and the list of words for decoding.",
    )
    parser.add_argument("--out", type=Path, help="model to write (default: the packaged one)")
    parser.add_argument("--words", type=Path, help="list to write (default: the packaged one)")
    parser.add_argument("--order", type=int, default=8, help="longest n-gram, up to 9 (8)")
    parser.add_argument("--size", type=int, default=1_000_000, help="n-grams kept (1000000)")
    parser.add_argument("--texts", type=Path, help="folder for the fetched texts")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    try:
        words = save_words(common_words(), options.words or words_path())
    except ModuleNotFoundError as error:
        print(f"error: install {error.name}: pip install '.[words]'", file=sys.stderr)
        return 2
    print(f"{words.name}: {words.stat().st_size:,} bytes")
    try:
        folder = fetch_texts(options.texts or texts_folder())
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    texts = every_text(folder)
    about = {
        "texts": [f"{p.name} {p.version}: {p.holds} ({p.licence})" for p in PACKAGES],
        "held out": HELD_OUT,
        "characters": sum(map(len, texts)),
    }
    model = estimate(texts, order=options.order, size=options.size, about=about)
    path = options.out or english_model_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, path)
    print(
        f"{path.name}: {path.stat().st_size:,} bytes, "
        f"{sum(len(level.characters) for level in model.levels):,} n-grams of "
        f"{about['characters']:,} characters; {time.perf_counter() - begin:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

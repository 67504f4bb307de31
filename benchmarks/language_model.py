"""Does a language model pay at decoding?

Each page goes through the network once; its frames are then decoded five ways: the likeliest class
of each frame (greedy), a beam search without a model, one with the English model and the list of
words on the first reading alone (once), the same with the second readings of doubtful lines
(english), and that without the list (no_words). The seconds are those of the decoding only, the
processor's, a page.

- unipen, copiste, font: the fixed validation pages. UNIPEN's words are English, often in no order;
  Copiste is French, which the model must not hurt; what the fonts write is partly among the texts
  of the model (`pages/prose.py`), so their gain is too good.
- prose, capitals, names: the same fonts with a book that the model never saw, the same in capitals,
  and what has a capital within its sentences.
- notes, lists: the same fonts with made notes, and words in no order.
- stanford: letters of 1905, only with --test: they choose nothing.

    python benchmarks/language_model.py [--groups unipen copiste] [--model MODEL] [--test]
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.evaluate.validation import GROUPS, make_pages, plans, test_items
from text_recognizer.images import ImageSource
from text_recognizer.language_model import english_model_path
from text_recognizer.language_model.character_model import load_model
from text_recognizer.language_model.decoding import Decoder
from text_recognizer.language_model.texts import fetch_texts, held_out_prose
from text_recognizer.language_model.words import load_words, words_path
from text_recognizer.metrics import character_edits
from text_recognizer.pages.fonts import UNSEEN_FONTS, FontSource
from text_recognizer.pages.generator import PageGenerator
from text_recognizer.pages.handwriting import HandwritingMissingError
from text_recognizer.pages.prose import Prose
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import lab_folder
from text_recognizer.views.seen import both_readings
from text_recognizer.vocabulary import BLANK, NEWLINE, TOKENS

WRITTEN = {
    "prose": (0.0, 0.0),
    "capitals": (0.0, 0.0),
    "names": (0.0, 0.0),
    "notes": (1.0, 0.0),
    "lists": (0.0, 1.0),
}
"""Group -> shares of notes and of words in no order."""
PROSE_PAGES = 40
SHORTEST = 60  # characters of a paragraph that a page is made of
WAYS = ("greedy", "beam", "once", "no_words", "english")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--groups", nargs="*", default=[*GROUPS, *WRITTEN])
    options.add_argument("--model", type=Path, help="TorchScript file; else the packaged weights")
    options.add_argument("--english", type=Path, default=english_model_path())
    options.add_argument("--test", action="store_true", help="read the letters of 1905 as well")
    chosen = options.parse_args()
    model = chosen.model or compile_paragraph_reader(lab_folder() / "models" / "accuracy.pt")
    recognizer = ParagraphTextRecognizer(model)
    began = time.perf_counter()
    english = load_model(chosen.english)
    load_seconds = time.perf_counter() - began
    decoders = {
        "beam": Decoder(None, TOKENS[:NEWLINE]),
        "no_words": Decoder(english, TOKENS[:NEWLINE]),
        "english": Decoder(english, TOKENS[:NEWLINE], words=load_words(words_path())),
    }
    rows = {}
    for group in [*chosen.groups, *(["stanford"] if chosen.test else [])]:
        try:
            rows[group] = measure(recognizer, decoders, group)
        except HandwritingMissingError as missing:
            print(f"without {group}: {missing}", file=sys.stderr)
    print(f"{'CER':12}" + "".join(f"{way:>10}" for way in WAYS) + f"{'s/page':>10}{'pages':>7}")
    for group, row in rows.items():
        rates = "".join(f"{row[way]['cer']:10.4f}" for way in WAYS)
        print(f"{group:12}{rates}{row['english']['seconds_per_page']:10.4f}{row['pages']:7d}")
    result = {
        "benchmark": "language_model",
        "threads": torch.get_num_threads(),
        "load_seconds": load_seconds,
        "bytes": chosen.english.stat().st_size,
        "rows": rows,
    }
    print(json.dumps(result))


def pages_of(group: str) -> Iterator[tuple[ImageSource, str]]:
    """Pictures and what is written in them."""
    if group == "stanford":
        for item in test_items():
            yield item.path, item.text
    elif group in WRITTEN:
        writing = Prose(*WRITTEN[group])
        writing.passages = passages_of(group)
        generator = PageGenerator([FontSource(UNSEEN_FONTS, writing)])
        for index in range(PROSE_PAGES):
            page = generator.make([2026, index])
            yield Image.fromarray(page.image), page.text
    else:
        for _, page in make_pages([group]):
            yield Image.fromarray(page.image), page.text


def passages_of(group: str) -> list[str]:
    """The book that the model never saw, as a group has it."""
    passages = [one for one in held_out_prose(fetch_texts()) if len(one) >= SHORTEST]
    if group == "capitals":
        return [one.upper() for one in passages]
    if group == "names":
        names = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", " ".join(passages))
        return [" ".join(names[first : first + 40]) for first in range(0, len(names) - 40, 40)]
    return passages


def count_of(group: str) -> int | None:
    return PROSE_PAGES if group in WRITTEN else len(plans([group])) if group in GROUPS else None


def measure(recognizer: ParagraphTextRecognizer, decoders: dict[str, Decoder], group: str) -> dict:
    """CER and seconds a page of each way over the pages of a group."""
    edits = dict.fromkeys(WAYS, 0)
    seconds = dict.fromkeys(WAYS, 0.0)
    characters = pages = 0
    for image, text in tqdm(pages_of(group), desc=group, total=count_of(group), leave=False):
        frames = frames_of(recognizer, image)
        both = both_readings(*frames)
        for way in WAYS:
            began = time.process_time()
            if way == "greedy":
                lines = [likeliest(row[:n]) for row, n in zip(frames[0], frames[1], strict=True)]
            elif way == "once":
                lines = decoders["english"].page([readings[:1] for readings in both])
            else:
                lines = decoders[way].page(both)
            seconds[way] += time.process_time() - began
            wrong = character_edits("\n".join(line for line in lines if line), text)
            edits[way] += wrong.errors
        characters, pages = characters + wrong.length, pages + 1
    ways = {
        way: {"cer": edits[way] / characters, "seconds_per_page": seconds[way] / pages}
        for way in WAYS
    }
    return {"pages": pages, "characters": characters, **ways}


def frames_of(recognizer: ParagraphTextRecognizer, image: ImageSource) -> tuple[torch.Tensor, ...]:
    """What `ParagraphReader.read_twice` tells of one picture's frames."""
    ((pages, _),) = recognizer._batches([image])
    with torch.inference_mode():
        return recognizer.model.read_twice(*recognizer.to_tensors(pages))[:4]


def likeliest(log_probs: torch.Tensor) -> str:
    ids = log_probs.argmax(1).numpy()
    new = np.diff(ids, prepend=BLANK) != 0
    return "".join(TOKENS[one] for one in ids[new & (ids != BLANK)])


if __name__ == "__main__":
    main()

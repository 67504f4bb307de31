"""The far end of the hand-off: a process that has torch and Pillow and nothing else installed.

It downloads a staged model, checks it, puts it in place and reads pages, as a small service would.

    python -m lab_utils.staging.torch_only < request.json
"""

import importlib.abc
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# torch, Pillow, what they require, and our own code.
ALLOWED = {
    "torch", "torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2",
    "markupsafe", "fsspec", "filelock", "setuptools", "pkg_resources", "_distutils_hack",
    "PIL", "text_recognizer", "lab_utils",
}  # fmt: skip


class TorchAndPillowOnly(importlib.abc.MetaPathFinder):
    """Lets imports of all else fail, as they do where it is not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        top = name.partition(".")[0]
        if top not in ALLOWED and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r} here", name=name)


def main() -> int:
    """Does what the JSON on stdin asks, and answers in JSON.

    In: `url`, `bytes`, `sha256`, `out`, `pages`. Out: `pages` with `text`, `lines` and `seconds`
    of each, `modules` (what was imported) and `seconds` (since the download); `error` where it
    failed, without `seconds` if that was the download.
    """
    sys.meta_path.insert(0, TorchAndPillowOnly())
    # torch notes that it finds no NumPy.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    from text_recognizer.errors import RecognizerError

    answer: dict[str, Any] = {}
    try:
        _fetch_and_read(json.load(sys.stdin), answer)
    except RecognizerError as error:
        answer["error"] = str(error)
    own_or_standard = sys.stdlib_module_names | {"text_recognizer", "lab_utils", "__main__"}
    answer["modules"] = sorted({name.partition(".")[0] for name in sys.modules} - own_or_standard)
    if "began" in answer:
        answer["seconds"] = time.perf_counter() - answer.pop("began")
    print(json.dumps(answer))
    return 0


def _fetch_and_read(request: dict[str, Any], answer: dict[str, Any]) -> None:
    from lab_utils.staging.files import download

    out = Path(request["out"])
    download(request["url"], out, request["bytes"], request["sha256"])
    answer["began"] = time.perf_counter()
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    recognizer = ParagraphTextRecognizer(out, language_model="none")
    readings = [recognizer.read(page) for page in request["pages"]]
    answer["pages"] = [
        {"text": one.text, "lines": len(one.lines), "seconds": one.seconds} for one in readings
    ]


if __name__ == "__main__":
    sys.exit(main())

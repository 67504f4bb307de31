"""The far end of the hand-off: a process that has torch and Pillow and nothing else installed.

It downloads a staged model, checks it, puts it in place and reads pages, as a small service would.

    python -m lab_utils.staging.torch_only < request.json
"""

import importlib.abc
import json
import sys
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
    """Does what the JSON on stdin asks, with one JSON object a line for each step.

    In: `url`, `bytes`, `sha256`, `out`, `pages`. Out: {"step": ...} as each begins, for each page
    {"page", "text", "lines", "seconds"}, and at the end {"modules": [what was imported]}, or
    {"error": ...} and exit code 2.
    """
    sys.meta_path.insert(0, TorchAndPillowOnly())
    # torch notes that it finds no NumPy.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    from text_recognizer.errors import RecognizerError

    request = json.load(sys.stdin)
    try:
        _fetch_and_read(request)
    except RecognizerError as error:
        _tell(error=str(error))
        return 2
    own_or_standard = sys.stdlib_module_names | {"text_recognizer", "lab_utils", "__main__"}
    _tell(modules=sorted({name.partition(".")[0] for name in sys.modules} - own_or_standard))
    return 0


def _fetch_and_read(request: dict[str, Any]) -> None:
    from lab_utils.staging.files import download

    _tell(step="download")
    out = Path(request["out"])
    download(request["url"], out, request["bytes"], request["sha256"])
    _tell(step="read")
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    recognizer = ParagraphTextRecognizer(out, language_model="none")
    for page in request["pages"]:
        reading = recognizer.read(page)
        _tell(page=page, text=reading.text, lines=len(reading.lines), seconds=reading.seconds)


def _tell(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())

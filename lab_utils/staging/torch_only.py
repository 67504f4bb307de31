"""The far end of the hand-off: a process that has torch and Pillow and nothing else installed.

It reads pages with a staged model, as a small service would.

    python -m lab_utils.staging.torch_only MODEL IMAGE ...
"""

import importlib.abc
import json
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

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


def main(model: str, *images: str) -> None:
    """Prints JSON: `pages` with `text`, `lines` and `seconds` of each, and the `modules` that were
    imported, besides the standard library and our own; or only `error`, a sentence why not."""
    sys.meta_path.insert(0, TorchAndPillowOnly())
    # torch notes that it finds no NumPy.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    from text_recognizer.errors import RecognizerError
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    try:
        recognizer = ParagraphTextRecognizer(model, language_model="none")
        readings = [recognizer.read(image) for image in images]
    except RecognizerError as error:
        print(json.dumps({"error": str(error)}))
        return
    pages = [{"text": r.text, "lines": len(r.lines), "seconds": r.seconds} for r in readings]
    own_or_standard = sys.stdlib_module_names | {"text_recognizer", "lab_utils", "__main__"}
    modules = {name.partition(".")[0] for name in sys.modules} - own_or_standard
    print(json.dumps({"pages": pages, "modules": sorted(modules)}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Where the packaged weights and the sample pages lie, and whether a compiled file fits them.

The commands work from any folder, so the places hang on the project, not on the current folder.
"""

from pathlib import Path

from text_recognizer.places import project_folder

PROJECT = project_folder()
SAMPLE_PAGES = PROJECT / "data" / "pages"


def is_current(compiled: Path) -> bool:
    """Whether a compiled file is there and newer than the weights and the code it is made from."""
    if not compiled.is_file():
        return False
    code = PROJECT / "text_recognizer"
    sources = [
        *(PROJECT / "data" / "weights").glob("*.safetensors"),
        *(code / "models").glob("*.py"),
        *(code / name for name in ("compile.py", "vocabulary.py", "weights.py")),
    ]
    newest = max(source.stat().st_mtime for source in sources if source.is_file())
    return compiled.stat().st_mtime > newest

"""Sets where the lab is published: the repository's address and the tag of this version.

Both are in pyproject.toml. Badges, clone commands and set-up cells repeat them.
"""

import re
from pathlib import Path

from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing
from text_recognizer.places import PROJECT

GITHUB = "https://github.com/"  # Colab opens notebooks only from there
WRITTEN_IN = ("pyproject.toml", "README.md", "notebooks/*.ipynb", "notebooks/solutions/*.ipynb")


def publish(repository: str, tag: str, root: Path = PROJECT) -> list[Path]:
    """Rewrites the address and the tag wherever they are written; returns the changed files.

    Args:
        repository: https://github.com/OWNER/NAME.
        tag: v and the version, "v1.2.3".

    Raises RecognizerError for another form, and then writes nothing.
    """
    address = repository.rstrip("/").removesuffix(".git")
    if not re.fullmatch(rf"{GITHUB}[\w.-]+/[\w.-]+", address):
        raise RecognizerError(f"{repository!r} is not a repository: write {GITHUB}OWNER/NAME.")
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise RecognizerError(f"{tag!r} is not a tag of a version: write it as v1.2.3.")
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    old_address = re.search(r'^Repository = "(.+)"$', project, re.MULTILINE)[1]
    old_tag = "v" + re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1]
    replaced = {
        f"/blob/{old_tag}/notebooks/": f"/blob/{tag}/notebooks/",
        f'TAG = \\"{old_tag}\\"': f'TAG = \\"{tag}\\"',  # in the JSON of a notebook
        f'\nversion = "{old_tag[1:]}"\n': f'\nversion = "{tag[1:]}"\n',
        f"\ncd {old_address.split('/')[-1]}\n": f"\ncd {address.split('/')[-1]}\n",
        f"/{old_address.removeprefix(GITHUB)}": f"/{address.removeprefix(GITHUB)}",
    }
    changed = []
    for path in sorted(path for pattern in WRITTEN_IN for path in root.glob(pattern)):
        text = before = path.read_text(encoding="utf-8")
        for old, new in replaced.items():
            text = text.replace(old, new)
        if text != before:
            with replacing(path) as partial:
                partial.write_text(text, encoding="utf-8", newline="\n")
            changed.append(path)
    return changed

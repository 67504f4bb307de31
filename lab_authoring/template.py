"""Starts a notebook: four small files that keep the contract and pass all tests from the start."""

from pathlib import Path
from string import Template

from lab_authoring.source import NAME
from text_recognizer.errors import RecognizerError

FILES = Path(__file__).parent / "template_files"


def new_notebook(name: str, title: str | None, project: Path) -> list[Path]:
    """Writes a new notebook below `project`: its source, checks, right and wrong answers.

    Args:
        name: two digits and a module's name, "08_two_words".
        title: the heading; else the name's words.

    Returns the paths written. Raises RecognizerError, and writes nothing, if the name is of
    another form, its number is taken, or a file is there.
    """
    if not NAME.fullmatch(name):
        raise RecognizerError(
            f"{name!r} is not a notebook's name: write two digits and a module's name in small "
            "letters, as in 08_two_words."
        )
    module, sources = name[3:], project / "notebooks" / "source"
    targets = {
        sources / f"{name}.py": "source.py.txt",
        project / "lab_utils" / "lessons" / module / "checks.py": "checks.py.txt",
        project / "tests" / "right_answers" / f"{module}.py": "right_answers.py.txt",
        project / "tests" / "wrong_answers" / f"{module}.py": "wrong_answers.py.txt",
    }
    for path in [*sources.glob(f"{name[:2]}*.py"), *filter(Path.exists, targets)]:
        raise RecognizerError(
            f"{path.relative_to(project)} is there: delete it, or choose another name and number."
        )
    title = title or module.replace("_", " ").capitalize()
    for path, template in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = Template((FILES / template).read_text(encoding="utf-8"))
        text = text.substitute(name=name, module=module, title=title)
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(targets)

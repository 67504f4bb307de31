"""What pyproject.toml says of the project, for those who would otherwise repeat it: the address
of the repository, the tag of this version, and what the notebooks need."""

from typing import TYPE_CHECKING

from text_recognizer.errors import RecognizerError
from text_recognizer.places import project_folder

if TYPE_CHECKING:
    from packaging.requirements import Requirement


class SetupError(RecognizerError):
    """A notebook can't run here, and the message says what to do."""


def name() -> str:
    """The name under which pip knows the project."""
    return _table()["name"]


def address() -> str:
    """The address of the repository, without an ending: https://github.com/OWNER/REPOSITORY."""
    return _table()["urls"]["Repository"].rstrip("/")


def tag() -> str:
    """The tag under which the repository holds this version of the project."""
    return f"v{_table()['version']}"


def requirements() -> "list[Requirement]":
    """What notebooks import, as declared; not the front end that shows them, which may be Colab's
    or an editor's."""
    from packaging.requirements import Requirement  # comes with ipykernel

    table = _table()
    lines = [*table["dependencies"], *table["optional-dependencies"]["lab"]]
    return [one for one in map(Requirement, lines) if one.name != "jupyterlab"]


def _table() -> dict:
    import tomllib  # new in Python 3.11; `prepare` tells an older one in a line of its own

    file = project_folder() / "pyproject.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    except FileNotFoundError:
        raise SetupError(
            f"{file} is missing: run the notebooks in a clone of the lab's repository."
        ) from None

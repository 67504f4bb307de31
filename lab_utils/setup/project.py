"""What pyproject.toml says about the project: the repository's address, the tag of this version,
and what the notebooks need."""

import importlib.util

from text_recognizer.errors import RecognizerError
from text_recognizer.places import project_folder

OLDEST_PYTHON = (3, 11)


class SetupError(RecognizerError):
    """A notebook can't run here, and the message says what to do."""


def address() -> str:
    """The address of the repository, without an ending: https://github.com/OWNER/REPOSITORY."""
    return _table()["urls"]["Repository"].rstrip("/")


def tag() -> str:
    """The tag under which the repository holds this version of the project."""
    return f"v{_table()['version']}"


def requirements() -> list[str]:
    """What notebooks import, as declared; not the front end that shows them, which may be Colab's
    or an editor's."""
    lines = [*dependencies(), *_table()["optional-dependencies"]["lab"]]
    return [line for line in lines if not line.startswith("jupyterlab")]


def dependencies() -> list[str]:
    """The requirements of the base installation."""
    return _table()["dependencies"]


def on_colab() -> bool:
    """Whether this is a Colab session, also before anything of the lab is installed."""
    try:
        return importlib.util.find_spec("google.colab") is not None
    except ModuleNotFoundError:  # there is no `google` either
        return False


def _table() -> dict:
    import tomllib  # new in Python 3.11; `prepare` refuses an older one

    file = project_folder() / "pyproject.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    except FileNotFoundError:
        raise SetupError(
            f"{file} is missing: run the notebooks in a clone of the lab's repository."
        ) from None

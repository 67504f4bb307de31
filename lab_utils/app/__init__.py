"""A web page over a predictor, for people, and an API over the same, for programs.

`make_frontend(LocalPredictor()).launch()` serves both; `API.md` describes the API.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab_utils.app.server import Frontend, make_frontend

__all__ = ["Frontend", "make_frontend"]


def __getattr__(name: str) -> Any:
    # The command line needs only the limits.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lab_utils.app import server

    return getattr(server, name)
